from hadis_lightly.training import DataSettings, Settings, TrainerSettings, with_method


def main():
    settings = Settings(
        data=DataSettings(source="digits"), trainer=TrainerSettings(max_epochs=50)
    )
    settings = with_method(settings, "cc")
    print(settings.optimizer.learning_rate, settings.loader.batch_size)  # CC's own
    return settings


if __name__ == "__main__":
    main()  # and run(settings)
