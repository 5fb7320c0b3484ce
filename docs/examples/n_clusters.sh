python benchmarks/quality/features.py --data digits --backbone pixels \
    --methods heads --tries model.pcl_weight=0 --folder runs/no_pcl
python benchmarks/quality/n_clusters.py runs/no_pcl/*/ --sample 1000
