# Installs a package from the repository at /srv/apt: install.sh suite package
echo "deb [trusted=yes] file:/srv/apt $1 main" > /etc/apt/sources.list
rm -rf /etc/apt/sources.list.d
apt-get -o APT::Sandbox::User=root update
apt-get -o APT::Sandbox::User=root install -y --no-install-recommends "$2"
