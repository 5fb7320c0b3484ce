python benchmarks/paper/paper_tables.py --methods kmeans,propos,hadis,cc \
    --datasets cifar10,stl10,imagenet10 --seeds 0,1,2 --path imagenet10=my_imagenet
