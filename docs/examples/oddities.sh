python benchmarks/quality/oddities.py --data c0.npz --seeds 0 1 2 --csv oddities.csv
