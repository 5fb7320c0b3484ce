# three minutes of one core
python benchmarks/quality/compare.py --recipe small_cifar10 --data c10.npz --tflop 20 \
    --seeds 0 1 2 --features --common "views.input_size=32 views.min_scale=0.08 \
    clustering.whiten=false clustering.every_n_epochs=1" --tries "" \
    "optimizer.learning_rate=1 optimizer.prediction_head_lr_scale=1" \
    "views.n_local_views=6 views.local_crop_size=16 model.predictor=false \
    model.coding_rate_weight=0.01 model.teacher_target=mean model.hsd_weight=0 \
    model.pcl_weight=0 optimizer.learning_rate=2"
# ten minutes of two cores
python benchmarks/quality/compare.py --recipe small_cifar10 --data c10.npz --tflop 80 \
    --seeds 0 1 2 --features --common "views.input_size=32 views.min_scale=0.08 \
    clustering.whiten=false clustering.every_n_epochs=1" --tries "" \
    "views.n_local_views=6 views.local_crop_size=16 model.predictor=false \
    model.coding_rate_weight=0.01 model.teacher_target=mean \
    optimizer.learning_rate=2 clustering.warmup_epochs=13"
