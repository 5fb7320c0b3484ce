pip install 'hadis-lightly[timm]'
