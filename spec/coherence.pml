/*
 * The coherence protocol (docs/coherence.md) for one key, as a state machine for Spin. The clauses C1 to C9 are cited
 * where they are. Each MUTANT_… leaves one clause out; spec/runs.mjs lists them, and each must be found.
 *
 * Property: the key is a linearizable register. `newest` is the newest version that any finished operation has returned; a
 * read that began after that must not return an older one. Versions are numbered in the order in which they took effect.
 * (This is exact for a register whose writes are totally ordered by their effects, and those are: one source.)
 *
 * Whole, the protocol keeps more than that (FROM_EFFECT): once a version has taken effect, returned or not, nobody who begins
 * to read is given an older one. That is what is checked, because it takes fewer states: `newest` is `source`, and to return
 * changes nothing. What a mutant breaks is the property itself.
 *
 * Abstractions, each of which allows at least what really happens:
 * - Time. A lease may lapse at any moment. What the protocol derives from clocks ("still for D(1+rho), so its lease has
 *   lapsed"; "P is over, so no commit of that write can follow") is a step that makes the derived fact true.
 * - Names. Nonces, tokens and message numbers are never compared as numbers. History bits say what a comparison would:
 *   whether a slot still holds the same joining, whether it was renewed since, whether a message is under way or lost.
 * - Acknowledgements take effect at once. A writer that looks later is a writer that runs later.
 * - Sending and running a read is one step, and so are running a script and its reply, unless a message can come
 *   between the two that matters (begin, the replies to reads and stores, renewals).
 * - Epochs are never compared as numbers either: what is of an older one is marked so when another primary comes. That
 *   one has what the last had, or has missed any of the marks, or has an older entry or fill token.
 * - What can't matter any more is forgotten (…IfUseless, stopWriting).
 *
 * Not in the model: several keys (of another key's traffic only what it can do to this one: it removes members, and it
 * shows gaps), several reads under way in one server, lifetimes, rotation of ids, a primary that has lost a session's
 * record, two primaries at once, versions of the protocol.
 */

#ifndef MEMBERS
#define MEMBERS 2
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
/* The server on which a writer runs. */
#ifndef HOME
#define HOME(w) ((w) % MEMBERS)
#endif

#define SLOTS MEMBERS
#define ZOMBIE (MEMBERS + 1)          /* a slot held by a joining that is over: nobody listens to its inbox */
#define NONE 15                       /* no copy, no value */

/* ---- Redis: the key's slot ---- */
mtype:entry = { nothing, token, value }
mtype:entry entry = nothing;
byte entryValue;                      /* version, or which member holds the token */
bool entryOld;                        /* of an older epoch; so with every …Old */
bool pending[WRITERS];                /* the mark: whose token is in it */
bool overlapped[WRITERS];             /* cache: another write was pending, or the epoch young; what it gives is not stored */
#ifdef KIND_SESSIONS
bool alive;                           /* the record; `source` is its version */
#endif

/* ---- Redis: the group's slot ---- */
bool youngForFills, youngForEffects;  /* the epoch is younger than P, than D(1+rho) */
bool olderYoung;                      /* so was the one before it, and that is not D(1+rho) ago either */
byte occupant[SLOTS];                 /* 0, member + 1, or ZOMBIE */

/* ---- the source: the database; for sessions the record itself ---- */
byte source;
#ifdef FROM_EFFECT
#define newest source
#else
byte newest;
#endif

/* ---- members: servers with copies ---- */
mtype:read = { idle, answered, filling, loaded, stored }
mtype:read reading[MEMBERS] = idle;
byte readValue[MEMBERS];
bool mayKeep[MEMBERS];                /* the reply may become a copy */
bool reserved[MEMBERS];               /* C5 the reservation stands */
bool closed[MEMBERS];                 /* C5 later callers may not share the read under way, if there is one */
byte copy[MEMBERS] = NONE;
bool lease[MEMBERS];                  /* C1 valid on the member's own clock */
byte leaseAge[MEMBERS];               /* given in this epoch, the one before, or one before that */
byte slot[MEMBERS];                   /* the member's belief: its slot + 1, or 0 */
mtype:renewal = { quiet, granting, expired }
mtype:renewal renewal[MEMBERS] = quiet;  /* the reply to a renewal, under way; expired: D has passed since it was sent */
/* One inbox and one connection: what was published before a renewal ran arrives before its reply. */
mtype:message = { none, ahead, behind, lostAhead, lostBehind }
typedef Inbox { mtype:message from[WRITERS] = none }
Inbox inbox[MEMBERS];

/* ---- writers ---- */
mtype:write = { ready, based, begun, revoked, committed, over }
mtype:write writing[WRITERS] = ready; /* over: returned, or its server died; then its token stays in the mark */
bool beginOld[WRITERS];
bool waitsForLeases[WRITERS];         /* C9: the epoch of its begin was younger than D(1+rho), which is not over yet */
byte writtenValue[WRITERS];           /* the version it made */
byte ownSlot[WRITERS];                /* as named in revoke: slot + 1 */
bool ownNonceCurrent[WRITERS];
typedef PerSlot { bool waiting[SLOTS]; bool timedOut[SLOTS] }
PerSlot writer[WRITERS];
#ifdef KIND_SESSIONS
mtype:change = { alter, destroy, birth }
mtype:change change[WRITERS];
bool baseStands[WRITERS];             /* S1: the record is still the one that it loaded */
#endif

byte faults;
byte i, j;                            /* 0 after every step */

#define hasSlot(m) (slot[m] != 0 && occupant[slot[m] - 1] == (m) + 1)
#define anyPending (pending[0] || pending[WRITERS - 1])
#define waits(w) (writer[w].waiting[0] || writer[w].waiting[1] || writer[w].waiting[SLOTS - 1])

inline returned(version) { if :: version > newest -> newest = version :: else fi }

/* Who begins now must not be given this version if a finished operation has returned a newer one. */
inline mayBeGiven(version) {
	if :: version < newest -> printf("MSC: version %d is given, which must be %d or newer\n", version, newest) :: else fi;
	assert(version >= newest)
}

inline forgetRead(m) {
	reading[m] = idle; readValue[m] = 0; mayKeep[m] = false; reserved[m] = false; closed[m] = false
}

inline closeRead(m) { closed[m] = (reading[m] != idle) }

#ifdef MUTANT_STORE_WITHOUT_TOKEN
#define tokenStands(m) true
#elif defined(MUTANT_TOKEN_OF_OLDER_EPOCH)
#define tokenStands(m) (entry == token && entryValue == m)
#else
#define tokenStands(m) (entry == token && entryValue == m && !entryOld) /* C5, C9 */
#endif

/*
 * What will neither be stored nor kept nor shared can only be returned. Under FROM_EFFECT that changes nothing, so that
 * without it there are fewer states and no fewer behaviours.
 */
inline forgetIfUseless(m) {
	if
	:: (reading[m] == answered || reading[m] == stored) && !(mayKeep[m] && reserved[m]) && closed[m] -> forgetRead(m)
#if defined(FROM_EFFECT) && !defined(KIND_SESSIONS)
	:: (reading[m] == filling || reading[m] == loaded) && !tokenStands(m) && closed[m] -> forgetRead(m)
#endif
	:: else
	fi
}

inline dropEntry() {
	entry = nothing; entryValue = 0; entryOld = false;
	for (j : 0 .. MEMBERS - 1) { forgetIfUseless(j) }
	j = 0
}

inline clearInbox(m) {
	i = 0;
	do
	:: i < WRITERS -> inbox[m].from[i] = none; i++
	:: else -> break
	od;
	i = 0;
	renewal[m] = quiet
}

/*
 * A member without lease whose joining is over serves nothing until it joins, and then it is emptied (C5). Emptying it
 * here too makes fewer states and no fewer behaviours.
 */
inline emptyIfUseless(m) {
#if !defined(MUTANT_JOIN_KEEPS_COPIES) && !defined(MUTANT_JOIN_KEEPS_RESERVATIONS) && !defined(MUTANT_COPY_WITHOUT_LEASE)
	if
	:: !hasSlot(m) && !lease[m] && renewal[m] != granting ->
		copy[m] = NONE; reserved[m] = false; closeRead(m); leaseAge[m] = 0;
		clearInbox(m);
		forgetIfUseless(m)
	:: else
	fi
#else
	skip
#endif
}

/* C5: a revocation, or the reply to the writer's own begin. */
inline dropCopy(m) {
	copy[m] = NONE;
#ifndef MUTANT_REVOCATION_LEAVES_RESERVATION
	reserved[m] = false;
#endif
#ifndef MUTANT_REVOCATION_LEAVES_READ_OPEN
	closeRead(m);
#endif
	forgetIfUseless(m)
}

/* ------------------------------------------------------------------ reads */

#ifdef MUTANT_OLD_ENTRY_SERVED
#define entryIsCurrent true
#else
#define entryIsCurrent (!entryOld) /* C9 */
#endif

#ifdef KIND_SESSIONS
inline sendRead(m) {
	forgetRead(m);
	reserved[m] = true;
	reading[m] = answered;
	readValue[m] = source;
	mayKeep[m] = true;
	printf("MSC: member %d reads version %d (pending: %d, there: %d)\n", m, source, anyPending, alive);
	mayBeGiven(source);
	/* Neither kept nor shared with who came later: C4, and C6 for a session that is not there. */
#ifndef MUTANT_MISSING_SHARED
	if :: !alive -> returned(source); forgetRead(m) :: else fi;
#endif
#ifndef MUTANT_COPY_WHILE_PENDING
	if :: reading[m] == answered && anyPending -> returned(source); forgetRead(m) :: else fi;
#endif
}
#else
#ifdef MUTANT_TOKEN_WHILE_PENDING
#define fillsForbidden youngForFills
#elif defined(MUTANT_TOKEN_IN_YOUNG_EPOCH)
#define fillsForbidden anyPending
#else
#define fillsForbidden (anyPending || youngForFills) /* C4, C9 */
#endif

inline sendRead(m) {
	forgetRead(m);
	reserved[m] = true;
	if
	:: entry == value && entryIsCurrent ->
		reading[m] = answered; readValue[m] = entryValue; mayKeep[m] = true;
		printf("MSC: member %d finds version %d\n", m, entryValue);
		mayBeGiven(entryValue)
	:: else ->
		if
		:: fillsForbidden || (entry == token && !entryOld) ->
			/* C6: nobody who came later shares it, so its sending, its load and its return can be one step. */
#ifdef MUTANT_UNCACHED_SHARED
			reading[m] = filling;
			printf("MSC: member %d gets no fill token\n", m)
#else
			printf("MSC: member %d gets no fill token, and returns version %d\n", m, source);
			returned(source);
			forgetRead(m)
#endif
		:: else ->
			entry = token; entryValue = m; entryOld = false;
			reading[m] = filling;
			printf("MSC: member %d gets a fill token\n", m)
		fi
	fi
}

inline readSource(m) {
	readValue[m] = source;
	reading[m] = loaded;
	printf("MSC: member %d loads version %d\n", m, source)
}


inline store(m) {
	if
	:: tokenStands(m) ->
		entry = value; entryValue = readValue[m]; entryOld = false;
		mayKeep[m] = true;
		printf("MSC: member %d stores version %d\n", m, readValue[m])
	:: else ->
		printf("MSC: member %d may not store version %d\n", m, readValue[m])
	fi;
	reading[m] = stored;
	forgetIfUseless(m)
}
#endif

inline finishRead(m) {
	returned(readValue[m]);
	if :: mayKeep[m] && reserved[m] -> copy[m] = readValue[m] :: else fi;
	printf("MSC: member %d returns version %d (kept: %d)\n", m, readValue[m], mayKeep[m] && reserved[m]);
	forgetRead(m)
}

/* C6: whether someone who comes now may share the read under way. */
#ifdef MUTANT_SHARED_WITHOUT_LEASE
#define vouched(m) true
#else
#define vouched(m) lease[m]
#endif
#ifdef KIND_SESSIONS
#define shareable(m) (reading[m] == answered)
#else
#define shareable(m) (reading[m] != idle && reading[m] != filling)
#endif

#ifdef MUTANT_COPY_WITHOUT_LEASE
#define mayServe(m) (copy[m] != NONE)
#else
#define mayServe(m) (copy[m] != NONE && lease[m]) /* C1 */
#endif

/* ------------------------------------------------------------------ membership */

#define freeSlot (occupant[0] == 0 || occupant[1] == 0 || occupant[SLOTS - 1] == 0)

/* The joining in this slot is over, or gone from the group: a writer that names it in revoke is refused. */
inline endJoining(s) {
	i = 0;
	do
	:: i < WRITERS -> if :: ownSlot[i] == s + 1 -> ownNonceCurrent[i] = false :: else fi; i++
	:: else -> break
	od;
	i = 0
}

inline leaveBehindZombie(m) {
	if
	:: hasSlot(m) -> j = slot[m] - 1; occupant[j] = ZOMBIE; endJoining(j); j = 0
	:: else
	fi;
	slot[m] = 0;
	lease[m] = false;
	clearInbox(m);
	emptyIfUseless(m)
}

inline join(m) {
	j = 0;
	do
	:: j < SLOTS && occupant[j] != 0 -> j++
	:: else -> break
	od;
	occupant[j] = m + 1;
	slot[m] = j + 1;
	printf("MSC: member %d joins in slot %d\n", m, j);
	j = 0;
	lease[m] = false;
	leaseAge[m] = 0;
	clearInbox(m);
	/* C5 */
#ifndef MUTANT_JOIN_KEEPS_COPIES
	copy[m] = NONE;
#endif
#ifndef MUTANT_JOIN_KEEPS_RESERVATIONS
	reserved[m] = false;
#endif
	closeRead(m);
	forgetIfUseless(m)
}

#define timedOutBySome(m) (writer[0].timedOut[slot[m] - 1] || writer[WRITERS - 1].timedOut[slot[m] - 1])

inline renew(m) {
	renewal[m] = granting;
	i = 0;
	do
	:: i < WRITERS ->
#ifndef MUTANT_REMOVED_THOUGH_RENEWED
		writer[i].timedOut[slot[m] - 1] = false; /* C3: the count is not what the writer saw: it waits once more */
#endif
		i++
	:: else -> break
	od;
	i = 0;
	printf("MSC: member %d renews\n", m)
}

#define isAhead(m) (inbox[m].from[0] == ahead || inbox[m].from[WRITERS - 1] == ahead)
#define lacks(m, w) (inbox[m].from[w] == lostAhead || inbox[m].from[w] == lostBehind)

inline acknowledge(m, w) {
	inbox[m].from[w] = none;
	if :: slot[m] != 0 -> writer[w].waiting[slot[m] - 1] = false; writer[w].timedOut[slot[m] - 1] = false :: else fi
}

/* C7: `applied` only ever moves over a gap by dropping everything. */
inline closeGap(m) {
#ifndef MUTANT_GAP_IGNORED
	dropCopy(m);
#endif
	i = 0;
	do
	:: i < WRITERS -> if :: lacks(m, i) -> acknowledge(m, i) :: else fi; i++
	:: else -> break
	od;
	i = 0;
	printf("MSC: member %d sees a gap\n", m)
}

inline renewed(m) {
	if
#ifndef MUTANT_LAG_IGNORED
	:: inbox[m].from[0] == lostAhead || inbox[m].from[WRITERS - 1] == lostAhead ->
		closeGap(m) /* C7: granted next time */
#endif
	:: else ->
#ifdef MUTANT_LEASE_FROM_REPLY
		lease[m] = true;
#else
		if :: renewal[m] == granting -> lease[m] = true :: else fi; /* C1: it counts from the sending */
#endif
		printf("MSC: member %d has a lease: %d\n", m, lease[m])
	fi;
	renewal[m] = quiet;
	emptyIfUseless(m);
	i = 0;
	do
	:: i < WRITERS ->
		if
		:: inbox[m].from[i] == behind -> inbox[m].from[i] = ahead
		:: inbox[m].from[i] == lostBehind -> inbox[m].from[i] = lostAhead
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

#define delivers(m, w) (inbox[m].from[w] == ahead || (inbox[m].from[w] == behind && renewal[m] == quiet))

inline deliver(m, w) {
	printf("MSC: member %d drops its copy for writer %d\n", m, w);
	dropCopy(m);
	acknowledge(m, w)
}

proctype Member(byte m) {
	do
	:: d_step { mayServe(m) -> printf("MSC: member %d serves its copy, version %d\n", m, copy[m]); mayBeGiven(copy[m]) }
	:: d_step { reading[m] == idle && !(copy[m] != NONE && lease[m]) -> sendRead(m) }
	:: d_step { shareable(m) && vouched(m) && !closed[m] ->
		printf("MSC: member %d lets a later caller share its read of version %d\n", m, readValue[m]);
		mayBeGiven(readValue[m]) }
#ifdef KIND_SESSIONS
	:: d_step { reading[m] == answered -> finishRead(m) }
#else
	:: d_step { reading[m] == filling -> readSource(m) }
	:: d_step { reading[m] == loaded -> store(m) }
	:: d_step { reading[m] == answered || reading[m] == stored -> finishRead(m) }
#endif
	:: d_step { hasSlot(m) && leaseAge[m] == 0 && renewal[m] == quiet && (!lease[m] || timedOutBySome(m)) ->
		/* Renewing a lease that holds changes nothing. */
		renew(m) }
	:: d_step { renewal[m] != quiet && !isAhead(m) -> renewed(m) }
	:: d_step { delivers(m, 0) -> deliver(m, 0) }
#if WRITERS > 1
	:: d_step { delivers(m, 1) -> deliver(m, 1) }
#endif
#ifndef LIVENESS
	/* A message of another key shows the gap before a renewal does. */
	:: d_step { lacks(m, 0) || lacks(m, WRITERS - 1) -> closeGap(m) }
	:: d_step { lease[m] -> lease[m] = false; emptyIfUseless(m); printf("MSC: the lease of member %d lapses\n", m) }
#endif
	:: d_step { copy[m] != NONE -> copy[m] = NONE; printf("MSC: member %d evicts its copy\n", m) }
	:: d_step { !hasSlot(m) && freeSlot -> join(m) }
	od
}

/* ------------------------------------------------------------------ writers */

inline begin(w) {
	writing[w] = begun;
	pending[w] = true;
	beginOld[w] = false;
	waitsForLeases[w] = youngForEffects;
	/* What the member believes: it may have been removed without knowing it yet. */
	ownSlot[w] = slot[HOME(w)]; ownNonceCurrent[w] = hasSlot(HOME(w));
#ifndef KIND_SESSIONS
#ifndef MUTANT_YOUNG_WRITE_STORED
	overlapped[w] = youngForFills; /* C9 */
#endif
#if WRITERS > 1 && !defined(MUTANT_OVERLAP_IGNORED)
	if :: pending[1 - w] -> overlapped[w] = true; overlapped[1 - w] = (writing[1 - w] != over) :: else fi;
#endif
#ifdef MUTANT_BEGIN_KEEPS_ENTRY
	if :: entry == token -> dropEntry() :: else fi;
#elif defined(MUTANT_BEGIN_KEEPS_TOKEN)
	if :: entry == value -> dropEntry() :: else fi;
#else
	dropEntry(); /* C4; C5: its token too */
#endif
#endif
	printf("MSC: writer %d begins\n", w)
}

inline forgetWaits(w) {
	i = 0;
	do
	:: i < SLOTS ->
		writer[w].waiting[i] = false; writer[w].timedOut[i] = false; i++
	:: else -> break
	od;
	i = 0;
	do
	:: i < MEMBERS -> inbox[i].from[w] = none; i++
	:: else -> break
	od;
	i = 0
}

#ifdef MUTANT_REVOKE_BY_SLOT_ONLY
#define nonceStands(w) true
#else
#define nonceStands(w) ownNonceCurrent[w]
#endif

/* C2 */
#ifdef MUTANT_ONE_MEMBER_NOT_ASKED
#define ASKED (SLOTS - 1)
#else
#define ASKED SLOTS
#endif
inline revoke(w) {
	i = 0;
	do
	:: i < ASKED ->
		if
		:: i + 1 != ownSlot[w] && occupant[i] != 0 ->
			writer[w].waiting[i] = true;
			if
			:: occupant[i] <= MEMBERS ->
				inbox[occupant[i] - 1].from[w] = (renewal[occupant[i] - 1] == quiet -> ahead : behind)
			:: else
			fi
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	ownSlot[w] = 0; ownNonceCurrent[w] = false;
	writing[w] = revoked;
	printf("MSC: writer %d revokes\n", w)
}

/* C3: D(1+rho) without a renewal, after as many as there were. Every lease that one of them gave has lapsed. */
inline timeOut(w, s) {
#ifndef MUTANT_REMOVED_BEFORE_LAPSE
	if
	:: occupant[s] != 0 && occupant[s] <= MEMBERS ->
		lease[occupant[s] - 1] = false;
		if :: renewal[occupant[s] - 1] == granting -> renewal[occupant[s] - 1] = expired :: else fi
	:: else
	fi;
	emptyIfUseless(0); emptyIfUseless(MEMBERS - 1);
#endif
	writer[w].timedOut[s] = true;
	printf("MSC: writer %d has waited for slot %d long enough\n", w, s)
}

/* C9: within the epoch of their begin, writers that wait for this joining take its absence for a lapsed lease. */
inline isAbsent(s) {
	i = 0;
	do
	:: i < WRITERS ->
		if
		:: !beginOld[i] ->
			writer[i].waiting[s] = false; writer[i].timedOut[s] = false
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

/* A writer of another key finds that its lease has lapsed, or that nobody answers. */
#define mayBeRemoved(s) \
	(occupant[s] == ZOMBIE || (occupant[s] != 0 && !lease[occupant[s] - 1] && renewal[occupant[s] - 1] != granting))

/* Compare and remove: had the member renewed, `timedOut` would not stand. */
inline remove(s) {
	occupant[s] = 0;
	endJoining(s);
	isAbsent(s);
	for (j : 0 .. MEMBERS - 1) { emptyIfUseless(j) }
	j = 0;
	printf("MSC: the member in slot %d is removed\n", s)
}

#ifdef MUTANT_NO_WAIT
#define mayTakeEffect(w) true
#elif defined(MUTANT_EFFECT_IN_YOUNG_EPOCH)
#define mayTakeEffect(w) (!waits(w))
#else
#define mayTakeEffect(w) (!waits(w) && !waitsForLeases[w]) /* C3, C9 */
#endif

/* A write that is over matters by its token alone: without it, it is of no epoch either. */
inline loseToken(w) {
	pending[w] = false; overlapped[w] = false;
	if :: writing[w] == over -> beginOld[w] = false :: else fi
}

/* It returns, or its server dies: beside its token nothing of it matters any more. */
inline stopWriting(w) {
	writing[w] = over;
	overlapped[w] = false; beginOld[w] = (beginOld[w] && pending[w]);
	waitsForLeases[w] = false; ownSlot[w] = 0; ownNonceCurrent[w] = false; writtenValue[w] = 0;
#ifdef KIND_SESSIONS
	baseStands[w] = false;
#endif
	forgetWaits(w)
}

inline leaveMark(w) {
	stopWriting(w);
	loseToken(w)
}

inline startOver(w) {
	leaveMark(w);
	writing[w] = ready;
	printf("MSC: writer %d starts over\n", w)
}

#ifdef KIND_SESSIONS
#ifdef MUTANT_FINISH_WITHOUT_TOKEN
#define finishToken(w) true
#elif defined(MUTANT_FINISH_IN_ANY_EPOCH)
#define finishToken(w) pending[w]
#else
#define finishToken(w) (pending[w] && !beginOld[w])
#endif
inline finish(w) {
	if
	:: finishToken(w) && alive && (change[w] == destroy || baseStands[w]) ->
		source++;
		i = 0; do :: i < WRITERS -> baseStands[i] = false; i++ :: else -> break od; i = 0;
		if :: change[w] == destroy -> alive = false :: else fi;
		printf("MSC: writer %d makes version %d (there: %d)\n", w, source, alive);
		returned(source);
		leaveMark(w)
	:: else ->
		printf("MSC: writer %d meets a conflict\n", w);
		leaveMark(w);
		writing[w] = (alive -> ready : over)
	fi
}
#else
inline commit(w) {
	source++;
	writtenValue[w] = source;
	writing[w] = committed;
	printf("MSC: writer %d commits version %d\n", w, source)
}

#ifdef MUTANT_END_WITHOUT_TOKEN
#define endToken(w) (!beginOld[w])
#else
#define endToken(w) (pending[w] && !beginOld[w])
#endif
inline end(w) {
	if
	:: endToken(w) && !overlapped[w] ->
		entry = value; entryValue = writtenValue[w]; entryOld = false;
		printf("MSC: writer %d ends and stores version %d\n", w, writtenValue[w])
	:: else ->
		printf("MSC: writer %d ends\n", w)
	fi;
	returned(writtenValue[w]);
	leaveMark(w)
}
#endif

/* In another epoch than that of its begin there is nobody whose renewals it could count. */
#define forSlot(w, s) \
	:: d_step { writing[w] == revoked && !beginOld[w] && writer[w].waiting[s] && !writer[w].timedOut[s] -> timeOut(w, s) } \
	:: d_step { writing[w] == revoked && !beginOld[w] && writer[w].timedOut[s] -> remove(s) }

proctype Writer(byte w) {
	do
#ifdef KIND_SESSIONS
	:: d_step { writing[w] == ready && change[w] == birth && !alive && source == 0 -> /* create if absent: no begin */
		source++; alive = true; returned(source); writing[w] = over;
		printf("MSC: writer %d creates the session\n", w) }
	:: d_step { writing[w] == ready && alive ->
		/* Its base is what it loaded: the record, or its own copy. */
		baseStands[w] = (!mayServe(HOME(w)) || copy[HOME(w)] == source); writing[w] = based }
	:: d_step { writing[w] == based && slot[HOME(w)] != 0 -> begin(w) }
#else
	:: d_step { writing[w] == ready && slot[HOME(w)] != 0 -> begin(w) }
#endif
	:: d_step { writing[w] == begun ->
		dropCopy(HOME(w));
		if
		:: nonceStands(w) -> revoke(w)
		:: else -> startOver(w)
		fi }
	forSlot(w, 0)
#if SLOTS > 1
	forSlot(w, 1)
#endif
#if SLOTS > 2
	forSlot(w, 2)
#endif
	:: d_step { writing[w] == revoked && waits(w) && beginOld[w] -> startOver(w) }
#ifdef KIND_SESSIONS
	:: d_step { writing[w] == revoked && mayTakeEffect(w) -> finish(w) }
#else
	:: d_step { writing[w] == revoked && mayTakeEffect(w) -> commit(w) }
	:: d_step { writing[w] == committed -> end(w) }
#endif
	od
}

/* ------------------------------------------------------------------ time, eviction, faults */

/* P is over for this token. A commit of a write that is not done can't follow: the source enforces the deadline. */
inline lapse(w) {
	if
#ifndef KIND_SESSIONS
	:: writing[w] == begun || writing[w] == revoked -> leaveMark(w)
#endif
	:: else -> loseToken(w)
	fi;
	printf("MSC: the token of writer %d lapses\n", w)
}

/* P after the epoch began: the deadline of each write that began in an older one is over. */
inline matureForFills() {
	youngForFills = false;
	j = 0;
	do
	:: j < WRITERS -> if :: beginOld[j] -> lapse(j) :: else fi; j++
	:: else -> break
	od;
	j = 0;
	printf("MSC: the epoch is older than P\n")
}

/* D(1+rho) after an epoch began each lease of an older one has lapsed. */
inline leasesLapse(age) {
	j = 0;
	do
	:: j < MEMBERS ->
		if
		:: leaseAge[j] >= age ->
			lease[j] = false;
			if :: renewal[j] == granting -> renewal[j] = expired :: else fi;
			emptyIfUseless(j)
		:: else
		fi;
		j++
	:: else -> break
	od;
	j = 0
}
inline matureForEffects() {
	youngForEffects = false; olderYoung = false;
	leasesLapse(1);
	do
	:: j < WRITERS -> waitsForLeases[j] = false; j++
	:: else -> break
	od;
	j = 0;
	printf("MSC: the epoch is older than D\n")
}
inline olderMatures() {
	olderYoung = false;
	leasesLapse(2);
	do
	:: j < WRITERS -> if :: beginOld[j] -> waitsForLeases[j] = false :: else fi; j++
	:: else -> break
	od;
	j = 0;
	printf("MSC: the epoch before is older than D\n")
}

inline crash(m) {
	leaveBehindZombie(m);
	copy[m] = NONE;
	forgetRead(m);
	j = 0;
	do
	:: j < WRITERS ->
		if
		:: HOME(j) == m && writing[j] != ready && writing[j] != over -> stopWriting(j)
		:: else
		fi;
		j++
	:: else -> break
	od;
	j = 0;
	printf("MSC: member %d crashes\n", m)
}

/* Its connection is lost, which ends the lease at once; its reads and its writer go on. */
inline reconnect(m) {
	leaveBehindZombie(m);
	printf("MSC: member %d loses its connection\n", m)
}

inline loseMessage(m, w) {
	inbox[m].from[w] = (inbox[m].from[w] == ahead -> lostAhead : lostBehind);
	printf("MSC: a message of writer %d to member %d is lost\n", w, m)
}
#define inTransit(m, w) (inbox[m].from[w] == ahead || inbox[m].from[w] == behind)

/* Another primary: the group is gone, and the key may be as it was earlier. */
inline newEpoch() {
	olderYoung = youngForEffects;
	youngForFills = true; youngForEffects = true;
	entryOld = (entry != nothing);
	j = 0;
	do
	:: j < WRITERS ->
		beginOld[j] = (pending[j] || writing[j] == begun || writing[j] == revoked || writing[j] == committed);
		for (i : 0 .. SLOTS - 1) { writer[j].timedOut[i] = false }
#ifdef MUTANT_WAIT_ENDS_WITH_EPOCH
		waitsForLeases[j] = false;
#endif
		j++
	:: else -> break
	od;
	j = 0;
	do
	:: j < MEMBERS -> leaseAge[j] = (leaseAge[j] < 2 -> leaseAge[j] + 1 : 2); j++
	:: else -> break
	od;
	j = 0;
	do
	:: j < SLOTS -> occupant[j] = 0; endJoining(j); j++
	:: else -> break
	od;
	i = 0; j = 0;
#if defined(MUTANT_ABSENCE_IN_ANY_EPOCH) || defined(MUTANT_FINISH_IN_ANY_EPOCH)
	do
	:: j < WRITERS -> for (i : 0 .. SLOTS - 1) { writer[j].waiting[i] = false }; j++
	:: else -> break
	od;
	i = 0; j = 0;
#endif
	for (j : 0 .. MEMBERS - 1) { emptyIfUseless(j); forgetIfUseless(j) }
	j = 0;
	printf("MSC: another primary\n")
}
inline loseMark(w) {
	loseToken(w);
	printf("MSC: it has missed the token of writer %d\n", w)
}
inline goBack(what, whose) {
	entry = what; entryValue = whose; entryOld = true;
	printf("MSC: its entry is an older one (token: %d)\n", what == token)
}

#define fault (faults < FAULTS)

#define faultsOf(m) \
	:: d_step { fault -> faults++; crash(m) } \
	:: d_step { fault && hasSlot(m) -> faults++; reconnect(m) } \
	:: d_step { fault && inTransit(m, 0) -> faults++; loseMessage(m, 0) } \
	:: d_step { fault && inTransit(m, WRITERS - 1) -> faults++; loseMessage(m, WRITERS - 1) }

proctype Environment() {
	do
#ifndef LIVENESS
	:: d_step { pending[0] -> lapse(0) }
#if WRITERS > 1
	:: d_step { pending[1] -> lapse(1) }
#endif
	:: d_step { youngForFills -> matureForFills() } /* P may be shorter or longer than D(1+rho) */
	:: d_step { youngForEffects -> matureForEffects() }
	:: d_step { olderYoung -> olderMatures() }
	:: d_step { mayBeRemoved(0) -> remove(0) }
#if SLOTS > 1
	:: d_step { mayBeRemoved(1) -> remove(1) }
#endif
#if SLOTS > 2
	:: d_step { mayBeRemoved(2) -> remove(2) }
#endif
#ifndef KIND_SESSIONS
	/* Eviction, and the end of an entry's or a token's life. */
	:: d_step { entry != nothing ->
		dropEntry();
		printf("MSC: the entry or the fill token is evicted\n") }
#ifdef MUTANT_MARK_EVICTED
	:: d_step { anyPending -> loseToken(0); loseToken(WRITERS - 1); printf("MSC: the mark is evicted\n") }
#endif
#endif
	faultsOf(0)
#if MEMBERS > 1
	faultsOf(1)
#endif
#if MEMBERS > 2
	faultsOf(2)
#endif
	:: atomic { fault ->
		d_step { faults++; newEpoch() };
		/* Of the marks it may have missed any. */
		if :: skip :: d_step { loseMark(0) } fi;
#if WRITERS > 1
		if :: skip :: d_step { loseMark(1) } fi
#endif
#ifndef KIND_SESSIONS
		;
		if
		:: skip
		:: d_step { goBack(value, 0) }
		:: d_step { reading[0] == loaded -> goBack(token, 0) }
		:: d_step { reading[1] == loaded -> goBack(token, 1) }
		fi
#endif
		}
#else
	:: d_step { fault && inTransit(1, 0) -> faults++; loseMessage(1, 0) }
#endif
	od
}

#ifdef LIVENESS
/* C7: the loss of a message costs a writer time, not for ever. */
ltl goesOn { [] (writing[0] == revoked -> <> (writing[0] != revoked)) }
#endif

init {
	byte k;
	atomic {
		for (k : 0 .. MEMBERS - 1) { join(k) }
		k = 0;
#ifdef KIND_SESSIONS
		/* A birth that finds the session there is a change, and members are alike: these are all the pairs. */
		if
		:: alive = true; change[0] = alter; change[WRITERS - 1] = alter
		:: alive = true; change[0] = alter; change[WRITERS - 1] = destroy
		:: alive = true; change[0] = destroy; change[WRITERS - 1] = destroy
		:: change[0] = birth; change[WRITERS - 1] = alter
		:: change[0] = birth; change[WRITERS - 1] = destroy
		:: change[0] = birth; change[WRITERS - 1] = birth
		fi;
		k = 0;
#endif
		for (k : 0 .. MEMBERS - 1) { run Member(k) }
		for (k : 0 .. WRITERS - 1) { run Writer(k) }
		k = 0;
		run Environment()
	}
}
