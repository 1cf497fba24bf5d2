"""The SQL of the wall's functions: who is in force, and the few things done on a caller's behalf."""

# The bodies of these are the one place where a scope is read and verified. Parallel plans are allowed, but the
# scope is read by their leader alone.
SCOPE_FUNCTIONS = """
CREATE FUNCTION app_scope_part(part int) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE scope text := current_setting('app.scope', true);
BEGIN
    -- After a commit the setting reads '' and not NULL; both mean that nobody opened a scope.
    IF scope IS NULL OR scope = '' THEN
        RAISE EXCEPTION 'no scope is open: tenant data cannot be touched' USING ERRCODE = '42501';
    END IF;
    -- [|] and not a backslash, whose meaning a session can change.
    IF scope !~ '^[0-9]{1,18}[|][0-9]{0,18}[|](advisor|compliance|admin|system)$' THEN
        RAISE EXCEPTION 'the scope is malformed' USING ERRCODE = '42501';
    END IF;
    IF split_part(scope, '|', 3) = 'system' AND session_user <> 'bulkhead_worker' THEN
        RAISE EXCEPTION 'the system role belongs to the worker' USING ERRCODE = '42501';
    END IF;
    RETURN split_part(scope, '|', part);
END $$;

CREATE FUNCTION app_firm() RETURNS bigint
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT public.app_scope_part(1)::bigint $$;

CREATE FUNCTION app_member() RETURNS bigint
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT NULLIF(public.app_scope_part(2), '')::bigint $$;

CREATE FUNCTION app_role() RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
$$ SELECT public.app_scope_part(3) $$;

REVOKE EXECUTE ON FUNCTION app_scope_part(int), app_firm(), app_member(), app_role() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app_firm(), app_member(), app_role() TO bulkhead_web, bulkhead_worker;
"""

DROP_SCOPE_FUNCTIONS = "DROP FUNCTION app_role(), app_member(), app_firm(), app_scope_part(int);"

# An advisor's INSERT … RETURNING on a client is refused by the read policy until the assignment exists,
# so both are written here, together.
CREATE_CLIENT = """
CREATE FUNCTION app_create_client(client_public_id uuid, client_name text, client_reference text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE new_id bigint := nextval(pg_get_serial_sequence('public.advisors_client', 'id'));
BEGIN
    IF app_role() <> 'advisor' OR app_member() IS NULL THEN
        RAISE EXCEPTION 'only an advisor creates a client' USING ERRCODE = '42501';
    END IF;
    INSERT INTO public.advisors_client (id, public_id, name, reference, created_at)
    VALUES (new_id, client_public_id, client_name, client_reference, clock_timestamp());
    INSERT INTO public.advisors_assignment (client_id, member_id, since)
    VALUES (new_id, app_member(), clock_timestamp());
    RETURN new_id;
END $$;
REVOKE EXECUTE ON FUNCTION app_create_client(uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app_create_client(uuid, text, text) TO bulkhead_web;
"""
DROP_CREATE_CLIENT = "DROP FUNCTION app_create_client(uuid, text, text);"

# A token names its firm before any scope exists; this is the only way from a digest to a member.
AUTHENTICATE = """
CREATE FUNCTION app_authenticate_token(given_digest bytea)
RETURNS TABLE (purpose text, firm_id bigint, member_id bigint, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.purpose, t.firm_id, t.member_id, u.role
    FROM public.advisors_apitoken t LEFT JOIN public.advisors_user u ON u.id = t.user_id
    WHERE t.digest = given_digest AND t.revoked_at IS NULL
      AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
      AND (t.user_id IS NULL OR u.is_active)
$$;
REVOKE EXECUTE ON FUNCTION app_authenticate_token(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app_authenticate_token(bytea) TO bulkhead_web;
"""
DROP_AUTHENTICATE = "DROP FUNCTION app_authenticate_token(bytea);"

# History is kept by month. A partition is made beside its table and then attached, so that nobody who reads or writes
# the table waits; it is reached through the table alone, whose grants and rules hold for it.
ENSURE_PARTITIONS = """
CREATE FUNCTION app_ensure_partitions(first_day date, last_day date) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    latest timestamp := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') + interval '4 months';
    parent text;
    month timestamp;
    bound CONSTANT text := 'YYYY-MM-DD "00:00:00+00"';
    part text;
    made int := 0;
BEGIN
    IF (first_day >= '2000-01-01' AND last_day < latest + interval '1 month') IS NOT TRUE THEN
        RAISE EXCEPTION 'partitions are made from 2000-01 to %, not from % to %',
            to_char(latest, 'YYYY-MM'), first_day, last_day USING ERRCODE = '22023';
    END IF;
    PERFORM pg_advisory_xact_lock(7309, 0);
    FOREACH parent IN ARRAY ARRAY['margin_marktick', 'margin_markcandle'] LOOP
        FOR month IN SELECT generate_series(
            date_trunc('month', first_day::timestamp), date_trunc('month', last_day::timestamp), '1 month')
        LOOP
            part := parent || to_char(month, '_YYYY_MM');
            -- Asked of the table itself: what a session remembers of a name may be older than the lock.
            CONTINUE WHEN EXISTS (
                SELECT FROM pg_class WHERE relname = part AND relnamespace = 'public'::regnamespace);
            EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', part, parent);
            EXECUTE format('REVOKE ALL ON public.%I FROM bulkhead_web, bulkhead_worker', part);
            EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                parent, part, to_char(month, bound), to_char(month + interval '1 month', bound));
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
REVOKE EXECUTE ON FUNCTION app_ensure_partitions(date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app_ensure_partitions(date, date) TO bulkhead_worker;
"""
DROP_ENSURE_PARTITIONS = "DROP FUNCTION app_ensure_partitions(date, date);"
