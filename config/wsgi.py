"""What gunicorn serves; a process under a wrong login does not start."""

import os

import django
from django.core.wsgi import get_wsgi_application

from config.db import boot

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django.setup(set_prefix=False)
boot.verify()
application = get_wsgi_application()
