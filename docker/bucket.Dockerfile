# The S3 server of compose.yaml: SeaweedFS, all of it in one process, as an ordinary user.
# Why this one: README.md in this folder.
FROM chrislusf/seaweedfs:4.47@sha256:ce9e796f1fe6f06968f4c04bdaf8f678dad9c8acdfef3d244133d71bfa6bf882

# The image starts as root to change its data's owner. A new volume takes the owner of the folder
# that it covers, so with a folder of its own it need not.
RUN mkdir /store && chown 1000:1000 /store

WORKDIR /store
USER 1000:1000

HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8333/healthz"]

# Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Its parts talk over loopback; what
# else it serves beside S3 is off.
ENTRYPOINT ["/usr/bin/weed", "-logtostderr=true", "mini", "-dir=/store", "-ip=127.0.0.1", "-ip.bind=0.0.0.0", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"]
CMD ["-bucket=stemworks"]
