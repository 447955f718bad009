# syntax=docker/dockerfile:1
# The node alone: no shell of its own needed, no package beside Debian's smallest. Certificates are compiled in.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock config.default.toml README.md ./
COPY benches benches
COPY migrations migrations
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --bin tautline && cp target/dist/tautline /tautline

FROM debian:bookworm-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/tautline --shell /usr/sbin/nologin tautline \
    && install -d -o tautline -g tautline -m 0700 /var/lib/tautline
COPY --from=build /tautline /usr/local/bin/tautline
USER tautline
# Where a SQLite database and its key file go, if no other is named.
WORKDIR /var/lib/tautline
VOLUME /var/lib/tautline
EXPOSE 8080
STOPSIGNAL SIGTERM
# Ready: connected to its database, and taking events.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["tautline"]
CMD ["serve"]
