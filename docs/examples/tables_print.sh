python benchmarks/paper_tables.py run=false                 # what is there so far
python benchmarks/paper_tables.py run=false csv=tables.csv tables=II
