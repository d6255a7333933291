"""Where set-up puts things: one ignored cache folder and ``.venv`` in the repository root."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
SETUP = ROOT / "infra" / "setup"
CACHE = ROOT / ".cache"

STAMPS = CACHE / "stamps"
MAVEN_REPOSITORY = CACHE / "maven"
KAFKA = CACHE / "kafka"
REGISTRY = CACHE / "registry"
JAVA_ARCHIVES = CACHE / "java"
VERSITYGW = CACHE / "versitygw" / "versitygw"
OPENAI_2_3 = CACHE / "openai-2.3"
MODELS = CACHE / "models"
