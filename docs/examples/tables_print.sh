python benchmarks/paper/paper_tables.py --print                 # finished cells so far
python benchmarks/paper/paper_tables.py --print --csv tables.csv --tables II
