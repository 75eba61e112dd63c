# -*- coding: utf-8 -*-
"""Starts wstest under Python 2.7. Owns one change to it: the fuzzing server listens on loopback, on a port that the system
chooses, and says which. Knows nothing of cases and results.
"""
from __future__ import print_function

import sys
import warnings

# cryptography and pyOpenSSL warn at import that Python 2 is at its end.
warnings.filterwarnings("ignore")

import txaio

txaio.use_twisted()

from autobahntestsuite import fuzzing, wstest

listen_anywhere = fuzzing.listenWS


def listen_on_loopback(factory, context=None):
    factory.port = 0
    port = listen_anywhere(factory, context, interface="127.0.0.1")
    # The handshake compares the Host header's port with this.
    factory.port = factory.externalPort = port.getHost().port
    print("listening on 127.0.0.1:%d" % factory.port)
    sys.stdout.flush()
    return port


fuzzing.listenWS = listen_on_loopback
wstest.run()
