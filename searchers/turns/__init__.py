"""Several turns: an answer is read, judged or summed up, and answered anew."""
