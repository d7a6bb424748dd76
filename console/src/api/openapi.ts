// Generated from docs/reference/openapi.json by `npm run types`.
export interface paths {
    "/v1/apply": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Applies a set of documents: all of them or none.
         * @description The body is either JSON with named sources or plain YAML of one or many documents.
         */
        post: {
            parameters: {
                query?: {
                    /** @description Check and compare only; so does `dryRun` of a JSON body. */
                    dryRun?: boolean;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ApplyRequest"];
                    "application/yaml": string;
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ApplyAnswer"];
                    };
                };
                /** @description problem */
                "4XX": {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/problem+json": unknown;
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Who did what, newest first: what people asked for and was accepted, and what sengu decided by itself about Releases.
         *     A page may be short, even empty, and still have a next one.
         */
        get: {
            parameters: {
                query?: {
                    limit?: number;
                    /** @description As the page before gave it; absent = from the newest. */
                    cursor?: string;
                    /** @description Only of this kind: of a record, or `Task`, or `Store`. */
                    kind?: string;
                    /** @description Only of what has this name, or was done to a target of this name. */
                    name?: string;
                    /** @description Only what was done so: `deleted`, `promoted`, ... */
                    what?: string;
                    /** @description Only by this role or this name. */
                    by?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_AuditEntry"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/changes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What was changed, newest first. Of several changes of one record close together only the last may be listed. */
        get: {
            parameters: {
                query?: {
                    /** @description Changes before this revision, as `cursor` gave it; absent = from the newest. */
                    before?: number;
                    limit?: number;
                    /** @description Only of this kind. */
                    kind?: string;
                    /** @description Only of records of this name. */
                    name?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ChangesPage"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/kinds": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All that can be explained. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Explained"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/kinds/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Explains `Target`, `redfish` or `redfish.power.set`. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Explained"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/limits": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Every limit. They are not settings. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["LimitInfo"][];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/overview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How everything stands. Computed at most once a second, for all who ask. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Overview"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/overview/watch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same as server-sent events `overview`: at most one a second, and only when something changed. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description server-sent events */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": components["schemas"]["Overview"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/parked": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Messages that nobody could make sense of, oldest first. Their bodies are as they came: whatever was in them is shown. */
        get: {
            parameters: {
                query?: {
                    limit?: number;
                    cursor?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_ParkedMessage"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/racks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Racks and how the targets in each are. */
        get: {
            parameters: {
                query?: {
                    /** @description Selector of targets; empty = all. */
                    selector?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Racks"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/records/{kind}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists records of a kind in name order. */
        get: {
            parameters: {
                query?: {
                    /** @description Selector over labels, fields and facts (targets) or labels (other kinds). */
                    selector?: string;
                    /** @description Only names with this prefix. */
                    name?: string;
                    limit?: number;
                    cursor?: string;
                };
                header?: never;
                path: {
                    kind: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_Record"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/records/{kind}/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One record. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    kind: string;
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        /** Writes one record. With `metadata.revision` only if it is still at that revision. */
        put: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    kind: string;
                    name: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Record"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        post?: never;
        /** Deletes one record. */
        delete: {
            parameters: {
                query?: {
                    /** @description Only if it is still at this revision. */
                    revision?: number;
                };
                header?: never;
                path: {
                    kind: string;
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/releases/{kind}/promote": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Moves a version of a worker to a part of the targets.
         * @description The answer is the Release. Follow it with GET /v1/watch on kind Release.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    kind: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Promote"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/releases/{kind}/rollback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends the rollout that is on its way, or goes back to what was before the last move. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    kind: string;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["Rollback"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/results": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Ended tasks as server-sent events `result` with CloudEvents JSON; the event id is the position. */
        get: {
            parameters: {
                query?: {
                    /** @description Results after this position; absent = from now. */
                    from?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description server-sent events */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": unknown;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Creates a run with all its tasks and begins its first batch. */
        post: {
            parameters: {
                query?: {
                    /** @description Check, and show what would be touched. */
                    dryRun?: boolean;
                };
                header?: {
                    "Idempotency-Key"?: string | null;
                };
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RunSpec"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["RunPreview"];
                    };
                };
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One run as it stands. */
        get: {
            parameters: {
                query?: {
                    /** @description Answer when it has ended, or after this time (at most 60s). */
                    wait?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{name}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends a run: nothing further begins. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{name}/grid": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Each target of a run as one letter. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["RunGrid"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{name}/grid/watch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The same as server-sent events: `grid` with all of it, then `changed` with what changed, at most two a second, and
         *     `run` with the status of the run whenever that changed.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description server-sent events `grid`, `changed`, `run` */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": components["schemas"]["GridEvent"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{name}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Holds a run: what is in hand ends, and nothing further begins until it is resumed. Survives restarts. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{name}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Goes on with a run that was paused. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{name}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Does a run again for those targets that are not done. */
        post: {
            parameters: {
                query?: {
                    /** @description Also those that are unknown after an action that must not be repeated: a person has looked. */
                    unknownToo?: boolean;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/runs/{name}/targets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The targets of a run and where each stands. */
        get: {
            parameters: {
                query?: {
                    /** @description Comma-separated: done, failed, unknown, cancelled, expired. */
                    status?: string;
                    limit?: number;
                    cursor?: string;
                };
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_RunTarget"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who you are here. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Session"];
                    };
                };
            };
        };
        put?: never;
        /** Begins a session: the answer sets a cookie. Needs no token beside the one in the body. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SessionRequest"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["NewSession"];
                    };
                };
                /** @description problem */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/problem+json": unknown;
                    };
                };
                /** @description problem */
                429: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/problem+json": unknown;
                    };
                };
            };
        };
        /** Ends the session of this browser. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session/code": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** A code for one session of an operator: good once, for five minutes. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SessionCode"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/store/move": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The move that is on, or the last one since sengu was started; `{"state":"none"}` when there was none. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["LastMove"];
                    };
                };
            };
        };
        put?: never;
        /** Begins to move the store into another one, while everything goes on. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["MoveRequest"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MoveStatus"];
                    };
                };
            };
        };
        /** Ends the move that is on, unless it has changed over already. */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MoveStatus"];
                    };
                };
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/targets/{name}/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What readings of a target were. Kept in memory since the start of this life of sengu, within a budget for the whole
         *     fleet: the more targets there are, the fewer values are kept of each.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ReadingHistory"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/targets/{name}/uncordon": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends the quarantine of a target. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists tasks, newest first. With `kind`, `action` or `origin` a page may be short and still have a next one. */
        get: {
            parameters: {
                query?: {
                    /** @description Name of a target. */
                    target?: string;
                    /** @description A run. */
                    run?: string;
                    /** @description Comma-separated: done, failed, unknown, cancelled, expired. */
                    status?: string;
                    /** @description `open`: not ended. */
                    state?: string;
                    /** @description Worker kind. */
                    kind?: string;
                    action?: string;
                    /** @description Who asked: `person`, `run`, `schedule`. */
                    origin?: string;
                    limit?: number;
                    cursor?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Page_TaskView"];
                    };
                };
            };
        };
        put?: never;
        /** Creates one task per target; they are durable when this answers. */
        post: {
            parameters: {
                query?: never;
                header?: {
                    "Idempotency-Key"?: string | null;
                };
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["TaskRequest"];
                };
            };
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["CreatedTasks"];
                    };
                };
                /** @description problem */
                "4XX": {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/problem+json": unknown;
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One task. */
        get: {
            parameters: {
                query?: {
                    /** @description Answer when it has ended, or after this time (at most 60s). */
                    wait?: string;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["TaskView"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Asks for the end of a task. What a worker has in hand ends as soon as that is safe. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["TaskView"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks/{id}/explain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Which worker does a task, and why that one. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Chosen"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks/{id}/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a task's worker logged. */
        get: {
            parameters: {
                query?: {
                    /** @description Stream as server-sent events (`log`, then `end`) until the task has ended. */
                    follow?: boolean;
                };
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Logs"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tiles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Targets as tiles. */
        get: {
            parameters: {
                query?: {
                    /** @description Selector of targets; empty = all. */
                    selector?: string;
                    /** @description `state` (default), a label, field or fact that a selector knows, or else the name of a reading. */
                    colour?: string;
                    /** @description At most 20,000. */
                    limit?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Tiles"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tiles/watch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The same as server-sent events: `tiles` with all of them, then `changed` with those that changed, at most two a
         *     second. `stale`: other targets match now, ask again.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Selector of targets; empty = all. */
                    selector?: string;
                    /** @description `state` (default), a label, field or fact that a selector knows, or else the name of a reading. */
                    colour?: string;
                    /** @description At most 20,000. */
                    limit?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description server-sent events `tiles`, `changed`, `stale` */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": components["schemas"]["TileEvent"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/top": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What is going on right now. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Top"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/version": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Version, roles and engines. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Version"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/watch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Changes of records as server-sent events `put` and `delete`; the event id is the revision. `gone`: list again. */
        get: {
            parameters: {
                query?: {
                    /** @description Comma-separated kinds; empty = all. */
                    kinds?: string;
                    /** @description Changes after this revision (as lists give it); absent = from now. */
                    from?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description server-sent events */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": unknown;
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/wees/{name}/cordon": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Has an execution environment take no new tasks. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/wees/{name}/drain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Has an execution environment take no new tasks, and lets its instances go. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/wees/{name}/uncordon": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Has an execution environment take tasks again. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Record"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/wees/{name}/upgrade": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Has an execution environment drain and start again as the program that is installed now. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WeeAnnouncement"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/why/{object}/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Why something does not progress. `object` is task, run or target. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    object: string;
                    name: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Why"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All versions of all workers. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WorkerView"][];
                    };
                };
            };
        };
        put?: never;
        /**
         * Pushes a version of a worker: the image as a tar in the canonical form, with worker.toml at its top.
         * @description Nothing is moved to it: see promote. The first version of a new kind is what its Release names.
         */
        post: {
            parameters: {
                query?: {
                    /** @description `sha256:...` of the body. */
                    digest?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/x-tar": string;
                };
            };
            responses: {
                /** @description it was there already */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Pushed"];
                    };
                };
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Pushed"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description What was done to what. */
        Act: {
            by: components["schemas"]["Actor"];
            /** @description More fields have changed than are named. */
            cut?: boolean;
            fields?: components["schemas"]["Changed"][];
            /** @description Kind of the record, or `Task`, or `Store`. */
            kind: string;
            name: string;
            note?: string;
            /** @description Names of the first targets of a task. */
            targets?: string[];
            /** @description What was asked for and accepted, in one word: `created`, `configured`, `deleted`, `promoted`, `cancelled`, ... */
            what: string;
        };
        /** @description Who acts. */
        Actor: {
            /** @description As whom the caller gave itself out. All operators have the same token, so nobody proves it. */
            name?: string | null;
            /** @description `operator`, or `sengu` for what it does by itself. */
            role: string;
            /** @description `token`, or `cookie` for the console. */
            via?: string | null;
        };
        /** @description What applying did to one record. */
        Applied: {
            after?: Record<string, never> | null;
            /** @description With a dry run: the record before and after. */
            before?: Record<string, never> | null;
            /** @description `created`, `configured` or `unchanged`. */
            change: string;
            kind: string;
            name: string;
            place: string;
            /** Format: int64 */
            revision?: number | null;
        };
        ApplyAnswer: {
            results: components["schemas"]["Applied"][];
            /** Format: int64 */
            revision: number;
        };
        /** @description Documents to apply as one set. */
        ApplyRequest: {
            /** @description Check and compare only. */
            dryRun?: boolean;
            sources: components["schemas"]["Source"][];
        };
        /** @description One act. */
        AuditEntry: components["schemas"]["Act"] & {
            at: string;
            /** Format: int64 */
            position: number;
        };
        /** @enum {string} */
        By: "token" | "cookie";
        /** @description Where versions are compared: tasks of one action on like devices. `-`: not known of the target. */
        Cell: {
            /** @default  */
            action: string;
            /** @default  */
            firmware: string;
            /** @default  */
            model: string;
            /** @default  */
            vendor: string;
        };
        CellStatus: {
            /**
             * @default {
             *       "action": "",
             *       "firmware": "",
             *       "model": "",
             *       "vendor": ""
             *     }
             */
            cell: components["schemas"]["Cell"];
            /** @default false */
            held: boolean;
            /**
             * @default {
             *       "failed": 0,
             *       "tasks": 0
             *     }
             */
            replaced: components["schemas"]["Sample"];
            /**
             * @default {
             *       "failed": 0,
             *       "tasks": 0
             *     }
             */
            seen: components["schemas"]["Sample"];
        };
        /** @enum {string} */
        ChangeOp: "put" | "delete";
        ChangeSeen: {
            kind: string;
            name: string;
            op: components["schemas"]["ChangeOp"];
            record?: components["schemas"]["Record"] | null;
            /** Format: int64 */
            revision: number;
        };
        /** @description A place in a record that has changed. */
        Changed: {
            after?: unknown;
            /** @description Absent: it was not there. Secret values are `***`; long ones are cut and end with `…`. */
            before?: unknown;
            /** @description Such as `spec.address`. */
            path: string;
        };
        ChangesPage: {
            /**
             * Format: int64
             * @description Give it back as `before` for the next page, which there may be even when this one is short; absent on the last.
             */
            cursor?: number | null;
            items: components["schemas"]["ChangeSeen"][];
            /**
             * Format: int64
             * @description Changes before this revision are no longer kept.
             */
            oldest: number;
            /**
             * Format: int64
             * @description The newest revision when it was listed, whatever was asked for: what comes after it is told by
             *     `GET /v1/watch?from=` this.
             */
            revision: number;
        };
        /** @description Why which worker does a task, or none does. */
        Chosen: {
            action: string;
            digest?: string | null;
            ended: boolean;
            /** @description Facts and labels by which it was looked for, as they are now. */
            facts: {
                [key: string]: string;
            };
            /** @description `kind@version/number`. */
            instance?: string | null;
            kind: string;
            target: string;
            task: string;
            /** @description Of the worker that did it, or would do it now. */
            version?: string | null;
            wee?: string | null;
            /** @description Execution environments of the target's zone, with what keeps each from running it. */
            wees: {
                [key: string]: string;
            };
            /** @description The rule, the pin, or why there is none. */
            why: string;
        };
        /**
         * @description Codes are part of the API: never rename one. The HTTP status follows from the code.
         * @enum {string}
         */
        Code: "unauthenticated" | "forbidden" | "not_found" | "no_such_route" | "method_not_allowed" | "syntax" | "invalid_field" | "unknown_kind" | "unknown_action" | "unknown_target" | "unknown_version" | "invalid_params" | "invalid_selector" | "invalid_name" | "duplicate_name" | "invalid_image" | "digest_mismatch" | "version_exists" | "rollout_in_progress" | "no_targets" | "document_too_large" | "too_many_documents" | "body_too_large" | "too_many_targets" | "conflict" | "in_use" | "idempotency_mismatch" | "gone" | "wrong_state" | "too_many_requests" | "store_unavailable" | "unavailable" | "unsettled" | "standby" | "internal";
        /** @description `status.conditions` of any record, as in Kubernetes. */
        Condition: {
            lastTransitionTime: components["schemas"]["Time"];
            message?: string;
            /** @description One CamelCase word. */
            reason: string;
            /** @description `True`, `False` or `Unknown`. */
            status: string;
            type: string;
        };
        CreatedTask: {
            id: string;
            target: string;
        };
        CreatedTasks: {
            tasks: components["schemas"]["CreatedTask"][];
        };
        Difference: {
            candidate: string;
            cell: components["schemas"]["Cell"];
            /** Format: int64 */
            count: number;
            /** @description `reading temperature_celsius{sensor="CPU1"}`, `fact firmware`, `result.partial`, `outcome`. */
            field: string;
            /** @description One example, as each version gave it. */
            stable: string;
            target: string;
        };
        Done: {
            after?: unknown;
            before?: unknown;
            /** @description False when the target already was as wanted (or for a read). */
            changed?: boolean;
            /** @description What the action gives back (command output, file digest), by its result schema. */
            result?: unknown;
        };
        /** @description a number and ms, s, m, h or d, such as 30s */
        Duration: string;
        /**
         * @description The effect class of an action.
         * @enum {string}
         */
        Effect: "read" | "idempotent" | "probe" | "once";
        /** @description How a task ended and who did it, as stored and shown. */
        Ending: {
            /** Format: int32 */
            attempts: number;
            /** @description Why that version did it: the rule of the Release, or the pin. */
            chosen?: string | null;
            /** @description Digest of the worker image that ran it. */
            digest?: string | null;
            endedAt: components["schemas"]["Time"];
            facts?: unknown;
            /** @description Earlier attempts, one line each. */
            history?: string[];
            /** @description `kind@version/number`. */
            instance?: string | null;
            outcome: components["schemas"]["Outcome"];
            readings?: unknown;
            startedAt?: components["schemas"]["Time"] | null;
            /** @description Worker Execution Environment that ran it. */
            wee?: string | null;
        };
        /** @description What a kind of record, a kind of target or one of its actions is. */
        Explained: {
            actions?: Record<string, never>[];
            description: string;
            /** @description YAML to start from. */
            example?: string;
            fields: components["schemas"]["Field"][];
            kind: string;
        };
        Failure: {
            code: components["schemas"]["FailureCode"];
            /** @description What else is known (remote exit code, HTTP status, extended error). */
            detail?: unknown;
            /** @description One line for a person; never a secret. */
            message?: string;
            /**
             * Format: int64
             * @description With `busy`: do not come back before, in milliseconds.
             */
            retry_after_ms?: number | null;
        };
        /**
         * @description Failure codes are few and shared by all kinds.
         * @enum {string}
         */
        FailureCode: "refused" | "busy" | "unreachable" | "auth_failed" | "identity_mismatch" | "timeout" | "crashed" | "bad_reply";
        /** @description One wrong place in a request. */
        Fault: {
            code: components["schemas"]["Code"];
            hint?: string | null;
            message: string;
            /** @description File or source, line, document and field: `targets.yaml:12 document 3 spec.address`. */
            place: string;
        };
        Field: {
            description: string;
            path: string;
            required: boolean;
            type: string;
        };
        /** @description Targets of a run that no longer are as they were told. */
        GridChanged: {
            /** @description Which targets, by their place in the grid. */
            i: number[];
            /** @description One letter for each. */
            state: string;
        };
        /** @description Data of one event of `/v1/runs/{name}/grid/watch`. */
        GridEvent: components["schemas"]["RunGrid"] | components["schemas"]["GridChanged"] | components["schemas"]["RunStatus"];
        /**
         * @description When a version that is being released is called good or bad. It is compared with the version that it replaces, for
         *     each cell of vendor, model, firmware and action, and over all.
         */
        Guard: {
            /**
             * @description And this long each step lasts at least.
             * @default 30s
             */
            hold: string;
            /**
             * Format: double
             * @description Failures borne beyond those of the version that is replaced, as a part of the tasks.
             * @default 0.02
             */
            maxFailures: number;
            /**
             * Format: double
             * @description Times the latency (90 of 100 tasks) of the version that is replaced.
             * @default 2
             */
            maxLatency: number;
            /**
             * Format: int32
             * @description Fewer failures than this never roll back.
             * @default 3
             */
            minFailures: number;
            /**
             * Format: int32
             * @description Tasks that must have ended well enough before the next step.
             * @default 50
             */
            window: number;
        };
        /** @description A cell that was rolled back. */
        HeldCell: {
            at: components["schemas"]["Time"];
            cell: components["schemas"]["Cell"];
            version: string;
            /** @description With the numbers. */
            why: string;
        };
        InterconnectInfo: {
            /** @description Reached, and it takes messages. */
            connected: boolean;
            /** @description `embedded`, or the kinds of the brokers. */
            engine: string;
            /** @description Why it is not connected. */
            message?: string | null;
            since?: components["schemas"]["Time"] | null;
        };
        KindCounts: components["schemas"]["TargetCounts"] & {
            kind: string;
        };
        /** @description The move that is on or was the last one; or that there was none. */
        LastMove: components["schemas"]["MoveStatus"] | components["schemas"]["NoMove"];
        /** @enum {string} */
        Level: "error" | "warn";
        /** @description One limit of this version. */
        LimitInfo: {
            name: string;
            /** @description `ms`, `bytes` or `count`. */
            unit: string;
            /** Format: int64 */
            value: number;
            why: string;
        };
        /** @description One line of a task's log. */
        LogLine: {
            at: components["schemas"]["Time"];
            frame?: components["schemas"]["Way"] | null;
            level: components["schemas"]["Level"];
            message: string;
        };
        Logs: {
            ended: boolean;
            items: components["schemas"]["LogLine"][];
        };
        Metadata: {
            annotations?: {
                [key: string]: string;
            };
            createdAt?: components["schemas"]["Time"] | null;
            labels?: {
                [key: string]: string;
            };
            name: string;
            /**
             * Format: int64
             * @description Revision of the last write; send it back to change only what you saw.
             */
            revision?: number | null;
            uid?: components["schemas"]["Uid"] | null;
        };
        MovePart: {
            /**
             * Format: int64
             * @description Rows that changed while they were compared: copied and compared again after.
             */
            again: number;
            /**
             * Format: int64
             * @description Rows copied, and how many there were at the start where that is known.
             */
            copied: number;
            part: string;
            /**
             * Format: int64
             * @description Rows found equal in both stores, and the SHA-256 over them: the same in both.
             */
            rows?: number | null;
            sha256?: string | null;
            /** Format: int64 */
            total?: number | null;
        };
        MoveRequest: {
            to: components["schemas"]["MoveTo"];
        };
        /** @enum {string} */
        MoveState: "running" | "moved" | "failed" | "cancelled";
        MoveStatus: {
            beganAt: string;
            /**
             * Format: int64
             * @description Rows copied again, since they were touched after they had been copied.
             */
            caughtUp: number;
            /** @description What the configuration file must say at the next start. */
            config: string;
            endedAt?: string | null;
            error?: string | null;
            from: string;
            id: string;
            /**
             * Format: int64
             * @description Images copied.
             */
            images: number;
            parts: components["schemas"]["MovePart"][];
            /**
             * Format: int64
             * @description How long commits were held by the last one.
             */
            pauseMs?: number | null;
            /**
             * Format: int32
             * @description Change-overs that were tried.
             */
            pauses: number;
            /** @description `preparing`, `copying`, `catchingUp`, `images`, `verifying`, `changingOver` or `moved`. */
            phase: string;
            state: components["schemas"]["MoveState"];
            to: string;
            /** @description Why the last change-over was undone. */
            undone?: string | null;
        };
        /** @description Where a store is to be moved to. Secrets are in files on this sengu's machine, never in here. */
        MoveTo: {
            /** @description A PEM file on the server's machine; default: the system's authorities. */
            ca?: string | null;
            /** @description `postgres`, or `sqlite`: a file of the data directory. */
            engine: string;
            /** @description A file on the server's machine that holds nothing but the password. */
            passwordFile?: string | null;
            /** @description Default: `sengu`. */
            schema?: string | null;
            /** @description `postgres://user@host:port/database`, without a password. */
            url?: string | null;
        };
        NewSession: {
            expiresAt: components["schemas"]["Time"];
            role: components["schemas"]["Role"];
        };
        /** @description No move was begun since sengu started. */
        NoMove: {
            state: components["schemas"]["NoMoveState"];
        };
        /** @enum {string} */
        NoMoveState: "none";
        /**
         * @description Where an image is to be had.
         * @enum {string}
         */
        Origin: "bundled" | "pushed";
        /** @description The end of a task. JSON: `{"status":"done","changed":true,...}`. */
        Outcome: (components["schemas"]["Done"] & {
            /** @enum {string} */
            status: "done";
        }) | (components["schemas"]["Failure"] & {
            /** @enum {string} */
            status: "failed";
        }) | {
            /** @enum {string} */
            status: "unknown";
            why: string;
        } | {
            /** @enum {string} */
            status: "cancelled";
            why: string;
        } | {
            /** @enum {string} */
            status: "expired";
            why: string;
        };
        /** @description How the whole installation stands. */
        Overview: {
            at: components["schemas"]["Time"];
            history: components["schemas"]["TaskHistory"];
            /**
             * Format: int64
             * @description Newest revision of the records.
             */
            revision: number;
            /** @description On their way, or taken back within the last hour. */
            rollouts: components["schemas"]["RolloutSeen"][];
            /** @description In progress, newest first, at most 50. */
            runs: components["schemas"]["RunSeen"][];
            /**
             * @description In hand or waiting for longer than expected, worst first, at most 20. Only what is in memory is looked at: of a
             *     long backlog, its front.
             */
            slow: components["schemas"]["SlowTask"][];
            /**
             * Format: int64
             * @description How many there are.
             */
            slowTotal: number;
            targets: components["schemas"]["TargetsSeen"];
            tasks: components["schemas"]["TasksSeen"];
            /** @description What a person should know of, worst first. */
            trouble: components["schemas"]["Trouble"][];
            wees: components["schemas"]["WeeSeen"][];
            zones: components["schemas"]["ZoneSeen"][];
        };
        /** @description One page of a list. */
        Page_AuditEntry: {
            /** @description Give it back for the next page; absent on the last. */
            cursor?: string | null;
            items: (components["schemas"]["Act"] & {
                at: string;
                /** Format: int64 */
                position: number;
            })[];
            /**
             * Format: int64
             * @description Watch from here to miss nothing after this list.
             */
            revision: number;
        };
        /** @description One page of a list. */
        Page_Explained: {
            /** @description Give it back for the next page; absent on the last. */
            cursor?: string | null;
            items: {
                actions?: Record<string, never>[];
                description: string;
                /** @description YAML to start from. */
                example?: string;
                fields: components["schemas"]["Field"][];
                kind: string;
            }[];
            /**
             * Format: int64
             * @description Watch from here to miss nothing after this list.
             */
            revision: number;
        };
        /** @description One page of a list. */
        Page_ParkedMessage: {
            /** @description Give it back for the next page; absent on the last. */
            cursor?: string | null;
            items: {
                /** @description When it was put aside. */
                at: string;
                /** @description The first 64 KiB of it, in base64. */
                body: string;
                /**
                 * Format: int64
                 * @description Length of the whole body.
                 */
                bytes: number;
                /** Format: int64 */
                position: number;
                /** @description The queue that it came by. */
                queue: string;
                reason: string;
            }[];
            /**
             * Format: int64
             * @description Watch from here to miss nothing after this list.
             */
            revision: number;
        };
        /** @description One page of a list. */
        Page_Record: {
            /** @description Give it back for the next page; absent on the last. */
            cursor?: string | null;
            items: {
                apiVersion: string;
                kind: string;
                metadata: components["schemas"]["Metadata"];
                spec?: unknown;
                status?: unknown;
            }[];
            /**
             * Format: int64
             * @description Watch from here to miss nothing after this list.
             */
            revision: number;
        };
        /** @description One page of a list. */
        Page_RunTarget: {
            /** @description Give it back for the next page; absent on the last. */
            cursor?: string | null;
            items: {
                /** Format: int32 */
                attempt: number;
                /** Format: int32 */
                batch: number;
                changed: boolean;
                code?: string | null;
                message?: string | null;
                state: components["schemas"]["TaskState"];
                status?: string | null;
                target: string;
                task: components["schemas"]["TaskId"];
            }[];
            /**
             * Format: int64
             * @description Watch from here to miss nothing after this list.
             */
            revision: number;
        };
        /** @description One page of a list. */
        Page_TaskView: {
            /** @description Give it back for the next page; absent on the last. */
            cursor?: string | null;
            items: {
                action: string;
                /** Format: int32 */
                attempt: number;
                createdAt: components["schemas"]["Time"];
                effect: components["schemas"]["Effect"];
                ending?: components["schemas"]["Ending"] | null;
                /** @description The frames between its worker and its host are kept in its log. */
                frames?: boolean;
                id: components["schemas"]["TaskId"];
                kind: string;
                notBefore?: components["schemas"]["Time"] | null;
                origin: string;
                params: unknown;
                priority: components["schemas"]["Priority"];
                run?: components["schemas"]["RunId"] | null;
                state: components["schemas"]["TaskState"];
                target: string;
                targetUid: components["schemas"]["Uid"];
            }[];
            /**
             * Format: int64
             * @description Watch from here to miss nothing after this list.
             */
            revision: number;
        };
        ParkedMessage: {
            /** @description When it was put aside. */
            at: string;
            /** @description The first 64 KiB of it, in base64. */
            body: string;
            /**
             * Format: int64
             * @description Length of the whole body.
             */
            bytes: number;
            /** Format: int64 */
            position: number;
            /** @description The queue that it came by. */
            queue: string;
            reason: string;
        };
        PoolAnnouncement: {
            /** @description Why no instance can be started, if so. */
            broken?: string | null;
            /** @description Last things an instance did wrong (invalid JSON, flood of logs, foreign task, left children), newest last. */
            complaints: string[];
            digest: string;
            /** Format: int64 */
            ended: number;
            /** Format: int64 */
            failed: number;
            /** Format: int32 */
            instances: number;
            kind: string;
            /** Format: int64 */
            restarts: number;
            /** @description Runtime that runs it here. */
            runtime?: string;
            /** Format: int32 */
            slots_busy: number;
            /**
             * Format: int32
             * @description Tasks that can be in hand at once when the pool is at its greatest.
             */
            slots_max: number;
            version: string;
        };
        /** @description Fields of a pool that are set otherwise than the manifest says. */
        PoolPatch: {
            /**
             * @description An instance above `warm` leaves after this long without a task.
             * @default null
             */
            idle: string | null;
            /**
             * Format: int32
             * @default null
             */
            max: number | null;
            /**
             * @description An instance is renewed after this long; 0s = never.
             * @default null
             */
            maxAge: string | null;
            /**
             * Format: int64
             * @description An instance is renewed after this many tasks; 0 = never.
             * @default null
             */
            maxTasks: number | null;
            /**
             * Format: int32
             * @description Slots kept free of observation, for changes and for people.
             * @default null
             */
            reserve: number | null;
            /**
             * Format: int32
             * @description Instances kept started even when idle, in each execution environment.
             * @default null
             */
            warm: number | null;
        };
        /**
         * @description Who goes first. The numbers are stored: never reuse one.
         * @enum {string}
         */
        Priority: "held" | "people" | "batch" | "sweep";
        /** @description An RFC 9457 problem. `errors` names every place that is wrong, not only the first. */
        Problem: {
            code: components["schemas"]["Code"];
            detail: string;
            errors?: components["schemas"]["Fault"][];
            /** @description What to do about it. */
            hint?: string | null;
            requestId?: string | null;
            /** Format: int32 */
            status: number;
            title: string;
            /** @description `urn:sengu:problem:<code>`. */
            type: string;
        };
        /** @description To be moved: `kind@version` to a part of the targets. */
        Promote: {
            /** @default null */
            guard: components["schemas"]["Guard"] | null;
            /**
             * @description Take back whatever other rollout of the kind is on its way.
             * @default false
             */
            replace: boolean;
            /**
             * Format: int64
             * @description Only if the Release is still at this revision.
             * @default null
             */
            revision: number | null;
            /**
             * @description Only run read actions beside the version in use, and compare.
             * @default false
             */
            shadow: boolean;
            /**
             * @description A percentage of the targets; default 100%.
             * @default null
             */
            share: string | null;
            /**
             * @description Shares that follow by themselves.
             * @default []
             */
            steps: string[];
            /**
             * @description Nobody watches.
             * @default false
             */
            unguarded: boolean;
            /** @default  */
            version: string;
            /**
             * @description Selector over labels, fields and facts, and `action`. Empty: every task.
             * @default
             */
            where: string;
        };
        /** @description What a push did. */
        Pushed: {
            /** Format: int64 */
            bytes: number;
            /** @description False when it was there already. */
            created: boolean;
            digest: string;
            /** @description The kind was not known before, and its Release names this version now. */
            first: boolean;
            kind: string;
            /** @description `kind@version`. */
            name: string;
            version: string;
        };
        QueueStanding: components["schemas"]["Sample"] & {
            class: string;
            /** Format: int32 */
            inFlight: number;
            kind: string;
            version: string;
            /** Format: int32 */
            window: number;
            zone: string;
        };
        /** @description One rack. A label that is absent is empty. */
        Rack: {
            /**
             * Format: int64
             * @description Their last task did not end well.
             */
            failing: number;
            /** Format: int64 */
            quarantined: number;
            rack: string;
            row: string;
            site: string;
            /** Format: int64 */
            targets: number;
            /** Format: int64 */
            unreachable: number;
        };
        Racks: {
            /** @description In order of site, row and rack; at most 5,000. */
            items: components["schemas"]["Rack"][];
            truncated: boolean;
        };
        /** @description Earlier values of a target's readings. Nothing of it outlives this life of sengu. */
        ReadingHistory: {
            /**
             * Format: int32
             * @description Values kept of each reading, at most: fewer, the larger the fleet is.
             */
            pointsMax: number;
            readings: components["schemas"]["ReadingSeries"][];
        };
        ReadingSeries: {
            /** @description Oldest first. */
            at: components["schemas"]["Time"][];
            /** @description With its labels, such as `temperature_celsius{sensor="CPU1"}`. */
            name: string;
            unit?: string | null;
            value: number[];
        };
        /** @description Any record. `spec` is what people want, `status` is what sengu saw. */
        Record: {
            apiVersion: string;
            kind: string;
            metadata: components["schemas"]["Metadata"];
            spec?: unknown;
            status?: unknown;
        };
        ReleaseEvent: {
            at: components["schemas"]["Time"];
            message: string;
            version: string;
            /** @description `promoted`, `stepped`, `settled`, `cell-rolled-back`, `rolled-back`, `edited`. */
            what: string;
        };
        ReleaseRule: {
            guard?: components["schemas"]["Guard"] | null;
            /** @description Unique within the Release. */
            name: string;
            /** @description Do nothing but run read actions beside the version in use, and compare. */
            shadow?: boolean;
            /** @description Part of the targets, always the same ones for one version; a percentage. */
            share?: string;
            /** @description Shares that follow by themselves, each after a good window. */
            steps?: string[];
            version: string;
            /**
             * @description Selector over labels, fields and facts of the target (`vendor`, `model`, `firmware`, `site`, ...) and `action`.
             *     Empty: every task.
             */
            where?: string;
        };
        /** @description A Release bears the name of its worker kind. */
        ReleaseSpec: {
            /** @description Wins over the pool that worker.toml declares; takes effect at once, without a new instance. */
            pool?: components["schemas"]["PoolPatch"];
            /** @description The first rule that matches a task wins. */
            rules?: components["schemas"]["ReleaseRule"][];
            /** @description For whatever no rule matches. */
            version: string;
        };
        ReleaseStatus: {
            /** @default null */
            before: components["schemas"]["ReleaseSpec"] | null;
            /**
             * @description Nobody has moved this Release by hand: it follows the version that comes with sengu.
             * @default false
             */
            followsBundled: boolean;
            /**
             * @description Cells that are kept off a version, newest last.
             * @default []
             */
            held: components["schemas"]["HeldCell"][];
            /**
             * @description What was moved, newest last, the last 50.
             * @default []
             */
            history: components["schemas"]["ReleaseEvent"][];
            /** @default null */
            previous: components["schemas"]["ReleaseSpec"] | null;
            /** @default [] */
            rules: components["schemas"]["RuleStatus"][];
        };
        /**
         * @description What somebody may do.
         * @enum {string}
         */
        Role: "operator" | "viewer";
        Rollback: {
            /**
             * Format: int64
             * @default null
             */
            revision: number | null;
            /**
             * @description To this version; left out: ends the rollout on its way, or else goes back to what was before the last move.
             * @default null
             */
            version: string | null;
        };
        /** @enum {string} */
        RolloutPhase: "Rolling" | "Shadow" | "Unguarded" | "RolledBack";
        /** @description A version on its way, or one that was taken back. */
        RolloutSeen: {
            /**
             * Format: int64
             * @description Tasks of it that failed in this step.
             */
            failures: number;
            /**
             * Format: int64
             * @description Cells that are kept off it.
             */
            held: number;
            kind: string;
            /** @description What it waits for, or why it was taken back. */
            message: string;
            phase: components["schemas"]["RolloutPhase"];
            /** @description Part of the targets, such as `10%`; empty once it was taken back. */
            share: string;
            version: string;
        };
        /** @enum {string} */
        RulePhase: "Rolling" | "Settled" | "Shadow" | "Unguarded";
        /** @description How one rule stands, since its last step. */
        RuleStatus: {
            /**
             * @description Cells with tasks of it, the worst first, at most 50.
             * @default []
             */
            cells: components["schemas"]["CellStatus"][];
            /** @default  */
            name: string;
            /** @default Rolling */
            phase: components["schemas"]["RulePhase"];
            /**
             * Format: int64
             * @description Tasks of it that ended well in earlier steps.
             * @default 0
             */
            proven: number;
            /**
             * @default {
             *       "failed": 0,
             *       "tasks": 0
             *     }
             */
            replaced: components["schemas"]["Sample"];
            /**
             * @description The version it is compared with.
             * @default
             */
            replaces: string;
            /**
             * @default {
             *       "failed": 0,
             *       "tasks": 0
             *     }
             */
            seen: components["schemas"]["Sample"];
            /** @default null */
            shadow: components["schemas"]["ShadowStatus"] | null;
            /** @default 1970-01-01T00:00:00.000Z */
            startedAt: components["schemas"]["Time"];
            /** @default 1970-01-01T00:00:00.000Z */
            stepAt: components["schemas"]["Time"];
            /** @default  */
            version: string;
            /**
             * @description What it waits for, in a sentence.
             * @default
             */
            waitsFor: string;
        };
        /** @description Targets of a run by where they stand. */
        RunCounts: {
            /**
             * Format: int32
             * @description Sent or started.
             * @default 0
             */
            active: number;
            /**
             * Format: int32
             * @default 0
             */
            cancelled: number;
            /**
             * Format: int32
             * @description Of those done, how many were changed.
             * @default 0
             */
            changed: number;
            /**
             * Format: int32
             * @default 0
             */
            done: number;
            /**
             * Format: int32
             * @default 0
             */
            expired: number;
            /**
             * Format: int32
             * @default 0
             */
            failed: number;
            /**
             * Format: int32
             * @description Their batch has not begun.
             * @default 0
             */
            held: number;
            /**
             * Format: int32
             * @description Attempts beyond the first.
             * @default 0
             */
            retries: number;
            /**
             * Format: int32
             * @default 0
             */
            unknown: number;
            /**
             * Format: int32
             * @default 0
             */
            waiting: number;
        };
        /** @description All targets of a run. */
        RunGrid: {
            /** @description Batch of each, from 1. */
            batch: number[];
            /**
             * Format: int64
             * @description Newest revision of the records when this was made.
             */
            revision: number;
            /**
             * @description One letter for each: h held, w waiting, a active, d done, c done and changed, f failed, u unknown,
             *     x cancelled, e expired.
             */
            state: string;
            /** @description Names, in order of their tasks; at most 20,000. */
            targets: string[];
            /** @description There are more targets than are shown. */
            truncated: boolean;
        };
        /** @description r- and 13 characters */
        RunId: string;
        /** @enum {string} */
        RunPhase: "Running" | "Paused" | "Cancelling" | "Stopping" | "Succeeded" | "Failed" | "Cancelled";
        /** @description What a run would touch. */
        RunPreview: {
            /** @description Targets per batch. */
            batches: number[];
            count: number;
            effect: string;
            /**
             * Format: int32
             * @description Failures allowed; absent = no limit.
             */
            maxFail?: number | null;
            /** @description Names of the first targets. */
            targets: string[];
            /** Format: int64 */
            timeoutMs: number;
        };
        RunSeen: {
            action: string;
            /** Format: int32 */
            batch: number;
            /** Format: int32 */
            batches: number;
            counts: components["schemas"]["RunCounts"];
            message: string;
            name: components["schemas"]["RunId"];
            phase: components["schemas"]["RunPhase"];
            startedAt?: components["schemas"]["Time"] | null;
            /** Format: int32 */
            targets: number;
        };
        /** @description `kind: Run`: one action over many targets, in batches, with a failure budget. */
        RunSpec: {
            action: string;
            /** @description Refuse a selector that matches nothing (default) or let the run end at once. */
            allowEmpty?: boolean;
            batch?: components["schemas"]["Share"] | null;
            effect?: components["schemas"]["Effect"] | null;
            exclude?: string[];
            /** @description Keep the frames between workers and their hosts in the tasks' logs, without secrets; of at most 100 targets. */
            frames?: boolean;
            /**
             * Format: int32
             * @description At most this many targets, in name order.
             */
            limit?: number | null;
            maxFail?: components["schemas"]["Share"] | null;
            params?: unknown;
            priority?: components["schemas"]["Priority"] | null;
            /** @description Selector of targets, frozen into a list when the run is created. */
            selector?: string;
            /** @description Named targets; may be combined with the selector. */
            targets?: string[];
            timeout?: components["schemas"]["Duration"] | null;
            /** @description Version of the worker that must do it, whatever the Release says; refused where it cannot. */
            version?: string | null;
        };
        RunStatus: {
            /**
             * Format: int32
             * @description Number of the batch in hand, from 1.
             */
            batch?: number;
            /**
             * Format: int32
             * @description Kind of the targets' worker, when they are of one.
             */
            batches?: number;
            counts: components["schemas"]["RunCounts"];
            endedAt?: components["schemas"]["Time"] | null;
            /**
             * Format: int32
             * @description First batch of this round; a retry begins a new one.
             */
            firstBatch?: number;
            /** Format: int32 */
            maxFail?: number | null;
            /** @description One line: why it is in this phase. */
            message?: string;
            phase: components["schemas"]["RunPhase"];
            startedAt?: components["schemas"]["Time"] | null;
            /** Format: int32 */
            targets: number;
        };
        /** @description Where one target of a run stands. */
        RunTarget: {
            /** Format: int32 */
            attempt: number;
            /** Format: int32 */
            batch: number;
            changed: boolean;
            code?: string | null;
            message?: string | null;
            state: components["schemas"]["TaskState"];
            status?: string | null;
            target: string;
            task: components["schemas"]["TaskId"];
        };
        /** @description Tasks of one version that were counted. */
        Sample: {
            /**
             * Format: int64
             * @default 0
             */
            failed: number;
            /**
             * Format: int64
             * @description Milliseconds from hand-over to end.
             * @default null
             */
            p50Ms: number | null;
            /**
             * Format: int64
             * @default null
             */
            p90Ms: number | null;
            /**
             * Format: int64
             * @default 0
             */
            tasks: number;
        };
        /** @description A sentence without its words. */
        Saying: {
            code: components["schemas"]["SayingCode"];
            /** @description What fills the places of the sentence. `since`, `at` and `until` are times, RFC 3339. */
            facts: {
                [key: string]: string;
            };
        };
        /**
         * @description What is said. More may come with a later version; the text beside it says the same in English.
         * @enum {string}
         */
        SayingCode: "taskHeld" | "taskInStore" | "taskBegun" | "taskBegunProbe" | "taskBegunSomewhere" | "taskBegunSomewhereProbe" | "taskSent" | "taskSentProbe" | "taskSending" | "taskSettling" | "taskGoes" | "taskTargetHeld" | "taskBehind" | "taskSessions" | "taskRests" | "taskRestsAfter" | "taskNoRoom" | "taskNoVersion" | "taskNoWee" | "taskOnlyWeeDrained" | "taskOnlyWeeCordoned" | "taskOnlyWeeLacks" | "taskOnlyWeeBroken" | "taskWeeDrained" | "taskWeeCordoned" | "taskWeeLacks" | "taskWeeBroken" | "taskChanged" | "taskChangedAfter" | "taskDone" | "taskDoneAfter" | "taskFailed" | "taskFailedAfter" | "taskUnknown" | "taskUnknownAfter" | "taskCancelled" | "taskExpired" | "targetQuarantined" | "targetMaintenance" | "targetUnreachable" | "targetHeld" | "targetAwaited" | "targetFree" | "runInHand" | "runPaused" | "runEnding" | "runSucceeded" | "runEnded" | "slowInHand" | "slowInHandSomewhere" | "slowNotBegun" | "slowNoWee" | "slowNoRoom" | "slowTargetHeld" | "slowBehind" | "slowSessions" | "slowRests" | "slowGoes" | "storeSilent" | "storeSlow" | "interconnectAway" | "interconnectBlocked" | "workerBroken" | "weeSilent" | "zoneEmpty";
        Session: {
            by: components["schemas"]["By"];
            expiresAt?: components["schemas"]["Time"] | null;
            name?: string | null;
            role: components["schemas"]["Role"];
        };
        SessionCode: {
            code: string;
            expiresAt: components["schemas"]["Time"];
        };
        /** @description One of both proofs. */
        SessionRequest: {
            /** @description As `POST /v1/session/code` gave it. */
            code?: string | null;
            /** @description Who you are, for the audit: nobody proves it. Default: as the code was asked for. */
            name?: string | null;
            token?: string | null;
        };
        /** @description What a shadow has found. */
        ShadowStatus: {
            /**
             * Format: int64
             * @description Tasks run a second time by the new version and compared.
             * @default 0
             */
            compared: number;
            /**
             * @description Differences by field and cell, the most frequent first, at most 100.
             * @default []
             */
            differences: components["schemas"]["Difference"][];
            /**
             * Format: int64
             * @description Of those, without any difference.
             * @default 0
             */
            same: number;
            /**
             * Format: int64
             * @description Reads that were not repeated, since as many were out as may be.
             * @default 0
             */
            skipped: number;
        };
        /** @description a count such as 20 or a percentage such as 10% */
        Share: string;
        /** @description A task that takes longer than expected. */
        SlowTask: components["schemas"]["Saying"] & {
            action: string;
            /** Format: int64 */
            expectedMs: number;
            /** @description In this state since then. */
            since: components["schemas"]["Time"];
            state: components["schemas"]["TaskState"];
            target: string;
            task: components["schemas"]["TaskId"];
            /** @description Why that is longer than expected, in a sentence. */
            why: string;
        };
        /** @description One named text, usually a file. */
        Source: {
            /** @description Shown in the place of a fault. */
            name: string;
            /** @description YAML, one or many documents. */
            text: string;
        };
        StoreInfo: {
            /** Format: int64 */
            bytes: number;
            engine: string;
            /** Format: int64 */
            records: number;
            /** Format: int64 */
            revision: number;
            /** Format: int64 */
            tasksEnded: number;
            /** Format: int64 */
            tasksOpen: number;
        };
        /** @description Targets by how they stand. One may be counted under several: a quarantined one may be unreachable too. */
        TargetCounts: {
            /**
             * Format: int64
             * @description Their last task did not end well.
             */
            failing: number;
            /** Format: int64 */
            maintenance: number;
            /** Format: int64 */
            quarantined: number;
            /** Format: int64 */
            reachable: number;
            /** Format: int64 */
            total: number;
            /**
             * Format: int64
             * @description Not asked yet.
             */
            unknown: number;
            /** Format: int64 */
            unreachable: number;
        };
        TargetsSeen: components["schemas"]["TargetCounts"] & {
            byKind: components["schemas"]["KindCounts"][];
            byZone: components["schemas"]["ZoneCounts"][];
        };
        /** @description Ends of tasks over the last hour. What was before the start of this life of sengu is zero. */
        TaskHistory: {
            /** @description Ended in each step, oldest first. */
            ended: number[];
            /** @description Start of the oldest step. */
            from: components["schemas"]["Time"];
            notDone: number[];
            /** Format: int32 */
            stepSeconds: number;
        };
        /** @description t- and 13 characters */
        TaskId: string;
        /** @description One action on one or more targets, as tasks of their own. */
        TaskRequest: {
            action: string;
            /** @description For actions that let the caller declare the effect. */
            effect?: string | null;
            /** @description Keep the frames between worker and host in the task's log, without secrets; for at most 100 targets. */
            frames?: boolean;
            params?: Record<string, never>;
            /** @description `people` (default for up to 100 targets) or `batch`. */
            priority?: string | null;
            /** @description Not begun within this time: `expired`. */
            startWithin?: string | null;
            /** @description Names of targets; one task is made for each. */
            targets: string[];
            /** @description From hand-over to outcome, such as `30s`. */
            timeout?: string | null;
            /** @description Version of the worker that must do it, whatever the Release says. */
            version?: string | null;
        };
        /**
         * @description Where a task stands, as shown to people and programs.
         * @enum {string}
         */
        TaskState: "held" | "waiting" | "sent" | "started" | "ended";
        /** @description A task as the API gives it. */
        TaskView: {
            action: string;
            /** Format: int32 */
            attempt: number;
            createdAt: components["schemas"]["Time"];
            effect: components["schemas"]["Effect"];
            ending?: components["schemas"]["Ending"] | null;
            /** @description The frames between its worker and its host are kept in its log. */
            frames?: boolean;
            id: components["schemas"]["TaskId"];
            kind: string;
            notBefore?: components["schemas"]["Time"] | null;
            origin: string;
            params: unknown;
            priority: components["schemas"]["Priority"];
            run?: components["schemas"]["RunId"] | null;
            state: components["schemas"]["TaskState"];
            target: string;
            targetUid: components["schemas"]["Uid"];
        };
        TasksSeen: {
            /**
             * Format: int64
             * @description Since the start of this life of sengu.
             */
            ended: number;
            /**
             * Format: int64
             * @description Of those: not done.
             */
            notDone: number;
            /** Format: double */
            notDonePerSecond: number;
            /**
             * Format: double
             * @description Observations by schedules that ended per second, over the last seconds. They are not stored, and counted nowhere
             *     else here; those that failed are seen by their targets.
             */
            observedPerSecond: number;
            /**
             * Format: double
             * @description Ended per second, over the last seconds.
             */
            perSecond: number;
            /** Format: int64 */
            sent: number;
            /** Format: int64 */
            started: number;
            /**
             * Format: int64
             * @description Not ended and not out, the backlog in the store included.
             */
            waiting: number;
        };
        /** @description One entry per tile in each column, in order of the targets' names. */
        TileColumns: {
            kind: number[];
            name: string[];
            rack: number[];
            row: number[];
            site: number[];
            /**
             * @description One letter per tile, what matters most: q quarantined, m maintenance, b busy (a change is in hand),
             *     u unreachable, f its last task failed, r reachable, ? not asked yet.
             */
            state: string;
            unit: (string | null)[];
            /** @description Of a reading; null where a target has none. */
            value?: (number | null)[] | null;
            /** @description Index into `words`, of a label, field or fact; null where a target has none. */
            word?: (number | null)[] | null;
        };
        /** @description Data of one event of `/v1/tiles/watch`. */
        TileEvent: components["schemas"]["Tiles"] | components["schemas"]["TilesChanged"];
        /** @description All tiles at once. */
        Tiles: {
            /** @description As asked for. */
            colour: string;
            kinds: string[];
            racks: string[];
            /**
             * Format: int64
             * @description Newest revision of the records when this was made.
             */
            revision: number;
            rows: string[];
            /** @description Texts that the columns point to by index. An absent label is an empty text. */
            sites: string[];
            tiles: components["schemas"]["TileColumns"];
            /**
             * Format: int64
             * @description Targets that the selector matches.
             */
            total: number;
            /** @description There are more than are shown. */
            truncated: boolean;
            /** @description Unit of the values, where they are of a reading. */
            unit?: string | null;
            /** @description What `word` points to; it grows with `changed`. */
            words: string[];
        };
        /** @description Tiles that are no longer as they were told. */
        TilesChanged: {
            /** @description Which tiles, by their place in the columns. */
            i: number[];
            /** @description One letter for each. */
            state: string;
            value?: (number | null)[] | null;
            word?: (number | null)[] | null;
            /** @description Texts to be put at the end of `words` before `word` is read. */
            words?: string[];
        };
        /** @description RFC 3339 with milliseconds */
        Time: string;
        Top: {
            queues: components["schemas"]["TopQueue"][];
            /** @description Runs in progress. */
            runs: components["schemas"]["Record"][];
            targets: components["schemas"]["TopTargets"];
            tasks: components["schemas"]["TopTasks"];
            wees: components["schemas"]["WeeAnnouncement"][];
        };
        TopQueue: components["schemas"]["QueueStanding"] & {
            /**
             * Format: int64
             * @description In the broker and not yet with an execution environment.
             */
            depth: number;
        };
        TopTargets: {
            quarantined: number;
            reachable: number;
            total: number;
            unreachable: number;
        };
        TopTasks: {
            /**
             * Format: int64
             * @description Since start.
             */
            ended: number;
            /**
             * Format: int64
             * @description Since start, of those ended: not done.
             */
            notDone: number;
            /** Format: int64 */
            sent: number;
            /** Format: int64 */
            started: number;
            /**
             * Format: int64
             * @description Not ended and not out, the backlog in the store included.
             */
            waiting: number;
        };
        Trouble: components["schemas"]["Saying"] & {
            level: components["schemas"]["Level"];
            /** @description What it is about, such as `target/bmc-1` or `wee/rack-7`. */
            link?: string | null;
            text: string;
        };
        /** @description u- and 13 characters */
        Uid: string;
        Version: {
            /**
             * Format: int64
             * @description Number of this life of the logic role.
             */
            epoch: number;
            /** @description Those who are told what happens, by name. */
            eventsTo: string[];
            interconnect: components["schemas"]["InterconnectInfo"];
            /** @description What the engines in use cannot do. */
            lacks: string[];
            roles: string[];
            startedAt: string;
            store: components["schemas"]["StoreInfo"];
            version: string;
        };
        /**
         * @description Between a worker and its host.
         * @enum {string}
         */
        Way: "toWorker" | "fromWorker";
        /** @description What a WEE says of itself in the retained directory under `wee/<name>`. */
        WeeAnnouncement: {
            at: components["schemas"]["Time"];
            /** @description It shares the process of logic, so it cannot be upgraded alone. */
            embedded?: boolean;
            /** @description What limits it enforces on workers, in words (cgroup, rlimit, none). */
            isolation: string[];
            labels?: {
                [key: string]: string;
            };
            /**
             * Format: int64
             * @description Drawn at its start: tells one life of a WEE from the next, and two of one name from each other.
             */
            life?: number;
            name: string;
            pools: components["schemas"]["PoolAnnouncement"][];
            runtimes: string[];
            sengu_version: string;
            /** @description What it was asked to be, as far as it knows. */
            spec?: components["schemas"]["WeeSpec"];
            /** Format: int32 */
            v: number;
            zone: string;
        };
        WeeSeen: {
            name: string;
            /** Format: int64 */
            slots: number;
            /** Format: int64 */
            slotsUsed: number;
            state: components["schemas"]["WeeState"];
            /** @description Version of sengu. */
            version: string;
            zone: string;
        };
        /** @description What logic wants of a WEE, in the retained directory under `wee-spec/<name>`. None there: work. */
        WeeSpec: {
            /**
             * @description Begin nothing new.
             * @default false
             */
            cordoned: boolean;
            /**
             * @description Begin nothing new, and let all instances go once their tasks have ended.
             * @default false
             */
            drained: boolean;
        };
        /** @enum {string} */
        WeeState: "ready" | "cordoned" | "draining" | "silent";
        /** @description The answer to "why?". */
        Why: components["schemas"]["Saying"] & {
            /** @description What else bears on it, one line each. */
            details?: string[];
            /** @description The task that is in the way. */
            holder?: string | null;
            object: string;
            sentence: string;
        };
        /** @description One version of a worker kind and how it does. */
        WorkerView: {
            actions: string[];
            /** @description By execution environment: why it cannot run it. */
            broken?: {
                [key: string]: string;
            };
            /** Format: int64 */
            bytes: number;
            complaints?: {
                [key: string]: string[];
            };
            description: string;
            digest: string;
            /**
             * Format: int64
             * @description Attempts that ended since the start of logic, and those that failed.
             */
            ended: number;
            /** Format: int64 */
            failed: number;
            /** @description What the Release sends to it, in words: `all`, `10% of vendor=Contoso`, `shadow`, or nothing. */
            gets: string[];
            /**
             * Format: int32
             * @description Sent and not ended.
             */
            inFlight: number;
            /**
             * Format: int32
             * @description Over all execution environments.
             */
            instances: number;
            kind: string;
            /** @description `kind@version`. */
            name: string;
            origin: components["schemas"]["Origin"];
            /** Format: int64 */
            p50Ms?: number | null;
            /** Format: int64 */
            p90Ms?: number | null;
            runtimes: string[];
            /** Format: int32 */
            slots: number;
            /** Format: int32 */
            slotsBusy: number;
            /** Format: int64 */
            targets: number;
            version: string;
        };
        ZoneCounts: components["schemas"]["TargetCounts"] & {
            zone: string;
        };
        ZoneSeen: {
            /** Format: int64 */
            slots: number;
            /** Format: int64 */
            slotsUsed: number;
            /** Format: int64 */
            targets: number;
            /**
             * Format: int64
             * @description Execution environments that speak.
             */
            wees: number;
            zone: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
