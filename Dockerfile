# The image of the controller and the agent. Docker, Podman and buildah build it alike:
#
#   docker build --tag gatehouse .
#
# Both bases can be replaced (--build-arg BUILDER=... --build-arg RUNTIME=...): the first needs cargo, rustc, a C
# compiler and make, the second glibc and the usual certificates.
ARG RUST_VERSION=1.95.0
ARG BUILDER=docker.io/library/rust:${RUST_VERSION}-bookworm
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILDER} AS build
ARG RUST_VERSION
# The toolchain of the base, so that rustup does not fetch the development tools that rust-toolchain.toml lists.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION}
WORKDIR /source
COPY . .
RUN cargo build --locked --release --package gatehouse --bin gatehouse \
 && install -D --mode=755 target/release/gatehouse /image/gatehouse

FROM ${RUNTIME}
COPY --from=build /image/gatehouse /usr/local/bin/gatehouse
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/gatehouse"]
