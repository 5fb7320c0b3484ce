from hadis_lightly.methods import with_method
from hadis_lightly.settings import DataSettings, Settings, TrainerSettings


def main():
    settings = Settings(
        data=DataSettings(source="digits"), trainer=TrainerSettings(max_epochs=50)
    )
    settings = with_method(settings, "cc")
    print(settings.optimizer.learning_rate, settings.loader.batch_size)  # CC's own
    return settings


if __name__ == "__main__":
    main()  # and run(settings)
