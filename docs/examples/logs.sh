tensorboard --logdir runs/photos/tensorboard
WANDB_MODE=offline hadis-lightly-train data.path=my_photos n_clusters=12 \
    trainer.logger=wandb
hadis-lightly-train data.path=my_photos n_clusters=12 trainer.logger=mlflow
