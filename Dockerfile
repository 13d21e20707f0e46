# One image for every part of Gotong: `gotong migrate`, `gotong worker`, `gotong portal` (see docker-compose.yml).
# Holds no secret: the database, the brokers and the master key come from the environment.

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/gotong
# The dependencies alone first, so that a change of our code does not install them again.
COPY requirements.lock ./
RUN /opt/gotong/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY models/ models/
COPY optimizer/ optimizer/
COPY workflow/ workflow/
COPY streams/ streams/
COPY portal/ portal/
COPY gotong/ gotong/
RUN /opt/gotong/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
COPY --from=build /opt/gotong /opt/gotong
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/gotong gotong
USER gotong
WORKDIR /var/lib/gotong
ENV PATH=/opt/gotong/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GOTONG_DATA_DIR=/var/lib/gotong
CMD ["gotong", "--help"]
