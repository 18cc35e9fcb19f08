// The HTTP edge as the gate sees it: a handler for secure connections.
import type { ConnectionHandler } from '../connection.ts'
import { HttpConnection } from './http-connection.ts'
import { httpServices, type HttpDependencies } from './services.ts'

/** Makes the handler that speaks HTTP/1 on every connection of a gate. */
export function createHttpHandler(dependencies: HttpDependencies): ConnectionHandler {
  const services = httpServices(dependencies)
  return connection => new HttpConnection(connection, services).activity()
}
