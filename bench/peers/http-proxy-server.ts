// The http-proxy peer's own process: port, upstream URL, certificate, key, country database and home country come as arguments.
import { readFileSync } from 'node:fs'
import { Agent, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import httpProxy from 'http-proxy'
import { LRUCache } from 'lru-cache'
import { Reader, type Response } from 'maxmind'

const [port, target, certFile, keyFile, geoFile, homeCountry] = process.argv.slice(2)
if (port === undefined || target === undefined || certFile === undefined) throw new Error('too few arguments')
if (keyFile === undefined || geoFile === undefined) throw new Error('too few arguments')

const countries = new Reader<Response & { readonly country_code: string }>(readFileSync(geoFile))
const cache = new LRUCache<string, string>({ max: 50_000 })

function countryOf(address: string): string {
  const known = cache.get(address)
  if (known !== undefined) return known
  const country = countries.get(address)?.country_code ?? ''
  cache.set(address, country)
  return country
}

const proxy = httpProxy.createProxyServer({
  target,
  xfwd: true,
  ws: true,
  agent: new Agent({ keepAlive: true, maxFreeSockets: 256, scheduling: 'lifo' }),
})
proxy.on('error', (_error, _request, response) => {
  if (response instanceof ServerResponse && !response.headersSent) response.writeHead(502).end()
  else response.destroy()
})

const server = createServer(
  { cert: readFileSync(certFile), key: readFileSync(keyFile) },
  (request, response) => {
    if (countryOf(request.socket.remoteAddress ?? '') === homeCountry) proxy.web(request, response)
    else response.writeHead(403).end()
  },
)
server.on('upgrade', (request, socket, head) => {
  socket.on('error', () => socket.destroy())
  if (countryOf(request.socket.remoteAddress ?? '') === homeCountry) proxy.ws(request, socket, head)
  else socket.destroy()
})
server.keepAliveTimeout = 120_000
server.maxRequestsPerSocket = 0
server.listen(Number(port), '0.0.0.0')
