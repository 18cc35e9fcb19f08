// A UDP server that sends every datagram back: the RMM server of the heartbeat benchmark. Run as `node udp-echo.ts <port>`.
import { createSocket } from 'node:dgram'

const socket = createSocket({ type: 'udp4', recvBufferSize: 4_194_304 })
socket.on('message', (message, from) => socket.send(message, from.port, from.address))
socket.bind(Number(process.argv[2]), '127.0.0.1')
