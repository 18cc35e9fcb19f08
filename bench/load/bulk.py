# Bulk bytes over raw TCP at the least cost to this core: python3 bulk.py serve <port> | load <host> <port> <down|up> <connections> <seconds>
# The first byte of a connection says the direction. Sending is sendfile, and received bytes are dropped in the kernel (MSG_TRUNC).
import json, os, socket, sys, threading, time

BLOCK = 4 << 20
block = os.memfd_create('block')
os.write(block, (b'portcullis bench package 0123456789 ' * (BLOCK // 36 + 1))[:BLOCK])


def send(connection, until):
    sent = 0
    while time.monotonic() < until:
        sent += os.sendfile(connection.fileno(), block, 0, BLOCK)
    return sent


def receive(connection, until):
    received = 0
    while time.monotonic() < until:
        count = connection.recv_into(nowhere, 0, socket.MSG_TRUNC)
        if count == 0:
            return -1
        received += count
    return received


nowhere = bytearray(BLOCK)


def serve(connection):
    try:
        if connection.recv(1) == b'd':
            send(connection, float('inf'))
        else:
            receive(connection, float('inf'))
    except OSError:
        pass
    connection.close()


def load(host, port, way, results):
    connection = socket.create_connection((host, port), 10)
    # Python polls before every call on a socket with a time limit.
    connection.settimeout(None)
    connection.sendall(b'd' if way == 'down' else b'u')
    until = time.monotonic() + seconds
    results.append((receive if way == 'down' else send)(connection, until))
    connection.close()


if sys.argv[1] == 'serve':
    listener = socket.create_server(('127.0.0.1', int(sys.argv[2])), backlog=128)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

host, port, way, connections, seconds = sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), float(sys.argv[6])
results = []
started = time.monotonic()
threads = [threading.Thread(target=load, args=(host, port, way, results)) for _ in range(connections)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
cut = connections - len([count for count in results if count > 0])
print(json.dumps({'bytes': sum(max(0, count) for count in results), 'seconds': time.monotonic() - started, 'failed': cut}))
