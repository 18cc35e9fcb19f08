# A link between this network namespace and the one of a process, with delay and random loss: python3 slow-link.py <pid> <near> <far> <delay ms> <loss %>
# Two TUN devices joined in user space, because not every kernel has netem. <near> is an address of this side, <far> the one of the other.
import ctypes, fcntl, heapq, os, random, select, struct, subprocess, sys, time

pid, near, far, delay, loss = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]) / 1e3, float(sys.argv[5]) / 1e2
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 1, 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def enter(descriptor):
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), 'setns')


def device(name, address, route):
    handle = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack('16sH14x', name, IFF_TUN | IFF_NO_PI))
    for words in (['addr', 'replace', address + '/32', 'dev'], ['link', 'set', 'up', 'dev']):
        subprocess.check_call(['ip', *words, name.decode()])
    subprocess.check_call(['ip', 'route', 'add', route, 'dev', name.decode(), 'src', address])
    return handle


here = os.open('/proc/self/ns/net', os.O_RDONLY)
there = os.open('/proc/' + pid + '/ns/net', os.O_RDONLY)
ends = [device(b'slow0', near, far)]
enter(there)
subprocess.check_call(['ip', 'link', 'set', 'lo', 'up'])
ends.append(device(b'slow1', far, near))
enter(here)
print('ready', flush=True)

queue, order = [], 0
while True:
    wait = max(0, queue[0][0] - time.monotonic()) if queue else None
    for end in select.select(ends, [], [], wait)[0]:
        try:
            for _ in range(64):
                packet = os.read(end, 65535)
                if random.random() >= loss:
                    order += 1
                    heapq.heappush(queue, (time.monotonic() + delay, order, ends[1 - ends.index(end)], packet))
        except BlockingIOError:
            pass
    while queue and queue[0][0] <= time.monotonic():
        _, _, end, packet = heapq.heappop(queue)
        try:
            os.write(end, packet)
        except OSError:
            pass
