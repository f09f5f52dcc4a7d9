"""Public addresses, and name resolution that ends in time."""

import ipaddress
import socket
import threading
from contextlib import contextmanager

import pytest

from recognizer.core.errors import FetchFailed, FetchTimeout
from recognizer.fetching.addresses import effective_address, is_public, resolve


@pytest.mark.parametrize(
    ("address", "effective"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("64:ff9b::c0a8:1", "192.168.0.1"),
        ("64:ff9b:1::1", "64:ff9b:1::1"),
        ("2606:4700::1111", "2606:4700::1111"),
    ],
)
def test_the_address_inside_a_mapped_or_nat64_address(address, effective):
    assert effective_address(ipaddress.ip_address(address)) == ipaddress.ip_address(effective)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("172.32.0.1", True),
        ("2606:4700::1111", True),
        ("172.31.255.255", False),
        ("100.127.255.254", False),
        ("169.254.169.254", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("2002:808:808::", False),
        ("2001:0:808:808::f7f7:f7f7", False),
        ("fd00:ec2::254", False),
        ("4000::1", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(ipaddress.ip_address(address)) is public


def answer(*addresses):
    return lambda host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]


def test_addresses_come_once_each_in_the_resolvers_order_and_without_zones():
    resolver = answer("9.9.9.9", "fe80::1%eth0", "8.8.8.8", "9.9.9.9")
    assert [str(each) for each in resolve("camera.example", 80, resolver=resolver)] == ["9.9.9.9", "fe80::1", "8.8.8.8"]


def test_the_resolver_of_the_system_is_the_default():
    assert any(address.is_loopback for address in resolve("localhost", 80, 10))


def unknown(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")


def timed_out(*_, **__):
    raise TimeoutError


@pytest.mark.parametrize("resolver", [unknown, timed_out, answer(), answer("no address")])
def test_a_resolver_without_an_answer_means_that_there_is_no_such_host(resolver):
    with pytest.raises(FetchFailed, match="camera.example"):
        resolve("camera.example", 80, resolver=resolver)


def test_the_timeout_ends_the_wait():
    release = threading.Event()
    with pytest.raises(FetchTimeout, match="camera.example"):
        resolve("camera.example", 80, 0.05, resolver=lambda *_, **__: release.wait(30))
    release.set()


def test_an_interruption_ends_the_wait():
    asked, release = threading.Event(), threading.Event()

    def resolver(*_, **__):
        asked.set()
        release.wait(30)

    @contextmanager
    def interruption(stop):
        def when_asked():
            asked.wait(30)
            stop()

        thread = threading.Thread(target=when_asked)
        thread.start()
        yield
        thread.join()

    with pytest.raises(FetchFailed, match="interrupted"):
        resolve("camera.example", 80, resolver=resolver, interruption=interruption)
    release.set()
