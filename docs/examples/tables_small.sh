python benchmarks/paper/paper_tables.py --methods kmeans,hadis,cc --datasets digits \
    --tables II
python benchmarks/paper/paper_tables.py --methods kmeans,hadis,cc --tables II \
    --datasets small_cifar10 --path small_cifar10=cifar10.npz
