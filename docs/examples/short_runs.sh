python benchmarks/quality/compare.py --recipe small_cifar10 --data balanced10k.npz \
    --seeds 0 --epochs 24 --features --common "clustering.every_n_epochs=4" --tries "" \
    "model.final_teacher_momentum=1.0" "model.teacher_momentum=0.996" \
    "loader.batch_size=512" "loader.batch_size=512 model.teacher_momentum=0.96" \
    "model.concatenate_views=true" "views.min_scale=0.08"
