"""The demo: real patients and a virtual cohort, through the same files and code as a study of yours."""
