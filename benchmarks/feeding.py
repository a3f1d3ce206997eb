"""Feeding from elsewhere: photos decoded by worker processes of tf.data service, against decoding in the training's process.

The service is TensorFlow's own: a dispatcher and workers as processes of this machine, reached over loopback. One
machine has no cores to add, so what is measured is what the service costs, and what it is for: taking the decoding
away from the process that trains. The consumer is one that asks without end, and one that is busy for a while with
each batch, as a device is; for it, what counts is how long it waits. Only training photos are read; no accuracy is measured.
"""

import contextlib
import socket
import subprocess
import sys
import time

import measure

SERVER = """
import sys
import tensorflow as tf
service, (kind, address) = tf.data.experimental.service, sys.argv[1:]
if kind == "dispatcher":
    server = service.DispatchServer(service.DispatcherConfig(port=int(address.split(":")[1])))
else:
    server = service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
print("ready", flush=True)
sys.stdin.read()
"""


class Service:
    "A dispatcher and some workers, as processes that end with the `with` block"

    def __init__(self, workers):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.kinds, self.processes = ["dispatcher"] + ["worker"] * workers, []

    def __enter__(self):
        for kind in self.kinds:
            self.processes.append(subprocess.Popen([sys.executable, "-c", SERVER, kind, self.address], stdin=subprocess.PIPE,
                                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))  # fmt: skip
        for process in self.processes:
            if process.stdout.readline().strip() != "ready":
                raise SystemExit(
                    f"a process of the service did not start: exit code {process.wait()}"
                )
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.communicate()

    def feed(self, batches):
        "The same batches, made by the workers, each batch by one of them"
        import tensorflow as tf

        policy = tf.data.experimental.service.ShardingPolicy.DYNAMIC
        served = tf.data.experimental.service.distribute(
            processing_mode=policy, service=f"grpc://{self.address}"
        )
        return batches.apply(served).prefetch(tf.data.AUTOTUNE)


def consume(batches, count, busy):
    "Photos a second of `count` batches for one who is busy so many seconds with each, and the share of time that it waits"
    iterator = iter(batches)
    next(iterator)
    photos, waited, start = 0, 0.0, time.perf_counter()
    for _ in range(count):
        asked = time.perf_counter()
        images, _ = next(iterator)
        waited += time.perf_counter() - asked
        photos += len(images)
        time.sleep(busy)
    passed = time.perf_counter() - start
    return photos / passed, 100 * waited / passed


def main():
    chosen = measure.options(__doc__.splitlines()[0], repeats=3).parse_args()
    if chosen.quick:
        chosen.repeats = 1
    from tutorial import BATCH_SIZE, tutorial_batches

    from foodvision.food101 import load_data
    from foodvision.pipeline import decode_split, training_batches

    data = load_data(chosen.data)
    report = measure.Report("feeding", "Feeding from other processes", chosen, data)
    decoded = decode_split(data.train, chosen.image_size, progress=False)
    count = 1 if chosen.quick else 2 * (len(data.train) // BATCH_SIZE)
    chain = tutorial_batches([data.train], chosen.image_size, shuffle=False).repeat()
    with contextlib.ExitStack() as stack:
        services = {f"service, {workers} worker{'s' * (workers > 1)}": stack.enter_context(Service(workers)).feed(chain)
                    for workers in ((1,) if chosen.quick else (1, 2))}  # fmt: skip
        kept = training_batches(decoded, BATCH_SIZE, 42, chosen.image_size, augmentation=None)
        fed = {"decoded here": chain, **services, "decoded once and kept": kept}
        asking = measure.in_turn(
            {name: lambda b=b: consume(b, count, 0)[0] for name, b in fed.items()}, chosen.repeats
        )
        busy = 0.1
        device = measure.in_turn(
            {name: lambda b=b: consume(b, count, busy) for name, b in fed.items()}, chosen.repeats
        )
    rows = report.table(
        "Photos for one who only asks", "photos/s", asking, "decoded here", "higher"
    )
    waits = {name: [max(wait, 0.01) for _, wait in values] for name, values in device.items()}
    report.table(f"Time that a device waits which needs {busy * 1000:.0f} ms for a batch of {BATCH_SIZE}", "% of the time", waits,
                 "decoded here")  # fmt: skip
    largest = list(services)[-1]
    times = rows[largest]["times"]
    report.remark(f"On one machine, where it adds no cores, the {largest}, delivers {times['median']:.1f} times "
                  f"({times['low']:.1f} to {times['high']:.1f}) what decoding in the process itself does.")  # fmt: skip
    kept = rows["decoded once and kept"]["times"]["median"]
    report.remark(f"Keeping the pixels is {kept:.0f} times as fast as decoding: the service can pay only where they "
                  "fit neither into memory nor onto the disk, and the machines that decode have cores to spare.")  # fmt: skip
    report.write()


if __name__ == "__main__":
    main()
