"""Systems with events of the state whose solutions are known in closed form, in JAX: their derivatives are the references."""

import dataclasses

import jax.numpy as jnp

from vht.model import Organ, Scalar, Vars, event, param, state


class Ball(Organ):
    """Falls and bounces."""

    g: Scalar = param(9.81, "m/s^2", "gravity")
    e: Scalar = param(0.8, "1", "share of the velocity that is left")

    class State(Vars):
        h: Scalar = state(1.0, "m", "height")
        v: Scalar = state(0.0, "m/s", "velocity")

    class Events(Vars):
        floor: Scalar = event("m", "height above the floor", direction="falling")

    def rates(self, t, x, u):
        return self.State(h=x.v, v=-self.g)

    def crossings(self, t, x, u):
        return self.Events(floor=x.h)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, v=-self.e * x.v)


class BallOnFloor(Ball):
    """... and put onto the floor when it bounces."""

    def after(self, event, t, x, u):
        return self.State(h=0.0, v=-self.e * x.v)


class BallBothWays(Ball):
    """... with an event that counts whichever way it goes."""

    class Events(Vars):
        floor: Scalar = event("m", "height above the floor")


def ball(t, g, e, h0):
    """Height, velocity and the number of bounces before."""
    speed = jnp.sqrt(2.0 * g * h0)
    hit, count = speed / g, 0
    if t < hit:
        return h0 - 0.5 * g * t * t, -g * t, count
    while True:
        speed, count = e * speed, count + 1
        if t < hit + 2.0 * speed / g:
            return speed * (t - hit) - 0.5 * g * (t - hit) ** 2, speed - g * (t - hit), count
        hit = hit + 2.0 * speed / g


class Thermostat(Organ):
    """Warms up all the time; cooling goes on and off between two thresholds. Remembers when it was switched last."""

    a: Scalar = param(0.7, "K/s", "warming")
    k: Scalar = param(1.3, "1/s", "cooling")
    low: Scalar = param(1.0, "K", "cooling goes off")
    high: Scalar = param(2.0, "K", "cooling goes on")

    class State(Vars):
        x: Scalar = state(1.2, "K", "temperature")
        on: Scalar = state(0.0, "1", "whether it cools")
        since: Scalar = state(0.0, "s", "time of the last switch")

    class Events(Vars):
        warm: Scalar = event("K", "above the upper threshold", direction="rising")
        cold: Scalar = event("K", "below the lower threshold", direction="falling")

    def rates(self, t, x, u):
        return self.State(x=self.a - self.k * x.on * x.x, on=0.0 * self.k, since=0.0)

    def crossings(self, t, x, u):
        return self.Events(warm=x.x - self.high, cold=x.x - self.low)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, on=1.0 if event == "warm" else 0.0, since=t)


def thermostat(t, a, k, low, high, x0):
    """Temperature and time of the last switch."""
    x, since, on = x0, 0.0 * a, False
    while True:
        rest = a / k
        switch = since + (jnp.log((high - rest) / (low - rest)) / k if on else (high - x) / a)
        if t < switch:
            return (rest + (x - rest) * jnp.exp(-k * (t - since)) if on else x + a * (t - since)), since
        x, since, on = (low if on else high), switch, not on
