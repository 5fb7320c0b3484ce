python benchmarks/quality/levels.py t-*.npz --seeds 0 1 --coarse 0 1 8 9 --linkages
python benchmarks/quality/levels.py r-*.npz --seeds 0 1 2 --coarse 0 1 8 9
