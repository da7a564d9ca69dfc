# vlt: asks the gateway for every package.
# Where: a shell, or the file that it starts with.
# Check: vlt view lodash version
# Undo:  remove the lines.
export VLT_REGISTRY={url}/
export NODE_EXTRA_CA_CERTS={ca}
