# Everything: the command line, the data stages, and the jobs that train and score.
# Build it at the root of the repository: docker build -f docker/training.Dockerfile .
#
# A plain Python base, for a GPU too: torch's wheels bring their own CUDA 13.0 libraries, pinned by
# the lock. A CUDA base would hold them a second time, in versions that the lock does not know. The
# host gives the driver (580 or newer), through its NVIDIA container toolkit.
FROM python:3.11.14-slim-trixie

# ffmpeg brings ffprobe with it. Its version is Debian's: a release keeps one version of a package
# and drops it when it is mended, so a version pinned here would break the build at each mend.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg tini \
    && rm -rf /var/lib/apt/lists/*

# By number below, so that an orchestrator can see that it is not root. A new volume takes the
# owner of the folder that it covers: these must be there, and be this user's.
RUN useradd --uid 1000 --user-group --create-home works \
    && install --directory --owner=works --group=works \
        /opt/stemworks/home /opt/stemworks/state /opt/stemworks/archives

WORKDIR /opt/stemworks

# Before the code, so that a change to the code leaves this layer, several GB, as it was.
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
        --requirement requirements.lock

COPY pyproject.toml ./
COPY storage storage
COPY pipelines pipelines
COPY training training
COPY flows flows
COPY docker/pools docker/pools
# In place, as on a developer's machine: Prefect knows a served flow by its file. Compiled now,
# since the user below may not write here. pyproject.toml names a README.md, which nothing reads.
RUN touch README.md \
    && pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation \
        --editable . \
    && python -m compileall -q storage pipelines training flows

# The state is one container's: it names processes by ids that mean nothing in another. A home may
# be shared by many.
ENV HOME=/home/works \
    STEMWORKS_STATE=/opt/stemworks/state \
    PREFECT_HOME=/opt/stemworks/state/prefect \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_RUNNER_SERVER_ENABLE=true \
    PREFECT_RUNNER_SERVER_HOST=127.0.0.1

USER 1000:1000

# `serve` answers here while it still asks the server for work, and no longer when it has missed a
# few turns. Another command serves nothing, and shows as unhealthy: give it --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import sys; from flows.server.server import answers; sys.exit(not answers('http://127.0.0.1:8080'))"]

# The kernel spares PID 1 the signals that it does not handle, and leaves it every orphan: tini
# passes SIGTERM on and buries them.
ENTRYPOINT ["/usr/bin/tini", "--", "stemworks"]
CMD ["--help"]
