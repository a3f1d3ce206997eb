"How the notebooks become a site and a README; no part of the package that users install"
