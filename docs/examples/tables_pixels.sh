python benchmarks/paper/paper_tables.py --methods kmeans,spectral,agglomerative,nmf \
    --datasets cifar10 --path cifar10=cifar10.npz --seeds 0 --tables II data.limit=10000
