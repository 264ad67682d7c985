# A system of the RHEL family as its users have it: packages are installed into it to see that they can be.
ARG base
FROM ${base}
RUN --mount=type=cache,target=/var/cache/dnf,sharing=locked \
    dnf -y --setopt=keepcache=1 install openssl-libs ncurses-libs libstdc++ zlib lksctp-tools unixODBC
