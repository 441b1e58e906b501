"""
Settings of the example site: SQLite, unless the environment says otherwise.

FILMS_DATABASE      sqlite (the default), postgresql or mariadb. The drivers are
                    not installed with safefield: psycopg, and mysqlclient.
FILMS_NAME          name of the database, "films" by default; with sqlite the path
                    of the file, films.sqlite3 beside manage.py by default
FILMS_USER, FILMS_PASSWORD, FILMS_HOST, FILMS_PORT
                    where the server is; the driver's own defaults if not set

    FILMS_DATABASE=postgresql FILMS_USER=postgres FILMS_HOST=localhost \
        python example_project/manage.py migrate
"""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "an example, to be run on one's own machine"
DEBUG = True
ALLOWED_HOSTS: list[str] = []

INSTALLED_APPS = [
    "safefield",
    "films",
    "demo",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

ROOT_URLCONF = "config.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgresql": "django.db.backends.postgresql",
    "mariadb": "django.db.backends.mysql",
}
DATABASE = os.environ.get("FILMS_DATABASE", "sqlite")
DEFAULT_NAME = str(BASE_DIR / "films.sqlite3") if DATABASE == "sqlite" else "films"

DATABASES = {
    "default": {
        "ENGINE": ENGINES[DATABASE],
        "NAME": os.environ.get("FILMS_NAME", DEFAULT_NAME),
        "USER": os.environ.get("FILMS_USER", ""),
        "PASSWORD": os.environ.get("FILMS_PASSWORD", ""),
        "HOST": os.environ.get("FILMS_HOST", ""),
        "PORT": os.environ.get("FILMS_PORT", ""),
    }
}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
