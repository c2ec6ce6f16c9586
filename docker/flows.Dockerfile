# The command line and the data stages, without torch: plan, status, census, verify, run fma.
# Jobs that train or score need training.Dockerfile.
# Build it at the root of the repository: docker build -f docker/flows.Dockerfile .
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

# Before the code, so that a change to the code leaves this layer as it was.
COPY requirements.lock docker/without-torch.sh ./
RUN sh without-torch.sh requirements.lock > flows.lock \
    && pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
        --requirement flows.lock

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
    DO_NOT_TRACK=1

USER 1000:1000

# Does the Prefect server answer? Nothing else here can fail and stay.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, sys; from flows.server.server import answers; sys.exit(not answers(os.environ['PREFECT_API_URL']))"]

# The kernel spares PID 1 the signals that it does not handle, and leaves it every orphan: tini
# passes SIGTERM on and buries them.
ENTRYPOINT ["/usr/bin/tini", "--", "stemworks"]
CMD ["--help"]
