import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { type ReactNode, Suspense } from 'react'
import { BrowserRouter, Link, Navigate, Route, Routes, useLocation } from 'react-router'
import { onUnauthenticated } from '../api/client'
import { ApiProblem, asProblem } from '../api/problem'
import { SESSION_KEY, useSession } from '../api/session'
import Login from '../pages/login/Login'
import { Loading, Unavailable } from '../parts/Standing'
import { useMessages } from './messages'
import { part } from './part'
import { Guarded } from './shell/Guarded'
import { messages } from './shell/messages'
import { Shell } from './shell/Shell'
import { ToastProvider } from './toasts'

const Overview = part(() => import('../pages/overview/Overview'))
const Targets = part(() => import('../pages/targets/Targets'))
const Runs = part(() => import('../pages/runs/Runs'))
const Workers = part(() => import('../pages/workers/Workers'))
const Tasks = part(() => import('../pages/tasks/Tasks'))
const Events = part(() => import('../pages/events/Events'))
const System = part(() => import('../pages/system/System'))

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      gcTime: 60_000,
      retry: (failures, thrown) => failures < 2 && asProblem(thrown).passing,
      refetchOnWindowFocus: true,
    },
  },
})

// Noticed by any request: who is logged in is asked again, and the login page shows itself. Not by that question itself:
// asked anew each time it is refused, it would never come to an end.
onUnauthenticated(() => {
  if (client.isFetching({ queryKey: SESSION_KEY }) === 0) void client.resetQueries({ queryKey: SESSION_KEY })
})

export function App() {
  return (
    <QueryClientProvider client={client}>
      <BrowserRouter basename="/console">
        <ToastProvider>
          <Routes>
            <Route path="/login" element={<Login />} />
            <Route path="*" element={<LoggedIn />} />
          </Routes>
        </ToastProvider>
      </BrowserRouter>
    </QueryClientProvider>
  )
}

/** Every page but the login, for whoever has a session. */
function LoggedIn() {
  const session = useSession()
  const location = useLocation()
  if (session.isPending) {
    return (
      <main>
        <Loading />
      </main>
    )
  }
  if (session.error) {
    if (session.error instanceof ApiProblem && session.error.status === 401) {
      return <Navigate to="/login" replace state={{ from: location.pathname + location.search }} />
    }
    if (!session.data) {
      return (
        <main>
          <Unavailable title="sengu" problem={asProblem(session.error)} again={() => void session.refetch()} />
        </main>
      )
    }
  }
  return (
    <Shell>
      <Routes>
        <Route path="/" element={page(<Overview />)} />
        <Route path="/targets/*" element={page(<Targets />)} />
        <Route path="/runs/*" element={page(<Runs />)} />
        <Route path="/workers/*" element={page(<Workers />)} />
        <Route path="/tasks/*" element={page(<Tasks />)} />
        <Route path="/events/*" element={page(<Events />)} />
        <Route path="/system/*" element={page(<System />)} />
        <Route path="*" element={<NotFound />} />
      </Routes>
    </Shell>
  )
}

function page(content: ReactNode): ReactNode {
  return <PageFrame>{content}</PageFrame>
}

function PageFrame({ children }: { children: ReactNode }) {
  const { pathname } = useLocation()
  return (
    <Guarded key={pathname.split('/')[1] ?? ''}>
      <Suspense fallback={<Loading />}>{children}</Suspense>
    </Guarded>
  )
}

function NotFound() {
  const t = useMessages(messages)
  return (
    <section className="page">
      <h1>{t.notFound}</h1>
      <p>
        <Link to="/">{t.toOverview}</Link>
      </p>
    </section>
  )
}
