using System;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using XenDM.Core.Hypervisor;
using XenDM.Core.State;
using XenDM.Core.Tracing;

namespace XenDM.Hypervisor.Embedded.Xen.Store;

/// <summary>
/// A guest's connection to the store over its page (xen/public/io/xs_wire.h): a ring of 1 KiB each way, messages with a header of 16 bytes and up to
/// 4 KiB behind it. Indices and lengths are the guest's and are checked; while replies do not fit, no request is taken.
/// </summary>
internal sealed unsafe class StoreConnection(XenStore store, int domain, IMachineLog log, Action notify) : IStateful
{
    private const int RingBytes = 1024;
    private const int Response = 1024;
    private const int RequestConsumer = 2048, RequestProducer = 2052, ResponseConsumer = 2056, ResponseProducer = 2060;
    private const int ServerFeatures = 2064, Connection = 2068, ErrorCode = 2072;

    /// <summary>The guest may ask for a new connection.</summary>
    private const uint FeatureReconnection = 1;
    private const uint ErrorRing = 1;
    private const int HeaderBytes = 16;
    private const int MaxPayload = StoreRequests.MaxPayload;

    private readonly byte[] _request = new byte[HeaderBytes + MaxPayload];
    private readonly StoreRequests _requests = new(store, domain);
    private readonly byte[] _reply = new byte[HeaderBytes + MaxPayload];
    private byte* _page;
    private int _requestBytes;
    private int _replyBytes;
    private int _replySent;
    private bool _broken;
    private bool _isProcessing;

    /// <summary>Starts over at a page of zeros.</summary>
    /// <param name="page">4 KiB that stay where they are.</param>
    public void Connect(Span<byte> page)
    {
        fixed (byte* start = page) _page = start;
        page.Clear();
        Set(ServerFeatures, FeatureReconnection);
        Forget();
        _requests.EventCame = Process;
    }

    /// <summary>The guest moved an index.</summary>
    public void Process()
    {
        var moved = false;
        if (_isProcessing) return;
        _isProcessing = true;
        if (Get(Connection) != 0)
        {
            foreach (var index in (ReadOnlySpan<int>)[RequestConsumer, RequestProducer, ResponseConsumer, ResponseProducer, Connection, ErrorCode]) Set(index, 0);
            Forget();
            moved = true;
        }

        while (!_broken)
        {
            if (SendReply()) moved = true;
            if (_replySent < _replyBytes) break;
            if (_requests.TryTakeEvent(out var change)) PrepareEvent(change);
            else if (TryTakeRequest(ref moved)) Answer();
            else break;
        }

        _isProcessing = false;

        if (moved) notify();
    }

    /// <inheritdoc cref="StoreRequests.AppendTo"/>
    public void AppendTo(IncrementalHash hash) => _requests.AppendTo(hash);

    public void State(StateVisitor s)
    {
        s.I32("request-bytes", ref _requestBytes);
        s.I32("reply-bytes", ref _replyBytes);
        s.I32("reply-sent", ref _replySent);
        s.Bool("broken", ref _broken);
        s.Bytes("request", _request.AsSpan(0, _requestBytes));
        s.Bytes("reply", _reply.AsSpan(0, _replyBytes));
    }

    private Span<byte> Page => new(_page, 4096);

    private uint Get(int at) => BinaryPrimitives.ReadUInt32LittleEndian(Page[at..]);

    private void Set(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Page[at..], value);

    private void Forget()
    {
        _requestBytes = _replyBytes = _replySent = 0;
        _broken = false;
        _requests.Reset();
    }

    /// <summary>Collects bytes until a message is whole.</summary>
    private bool TryTakeRequest(ref bool moved)
    {
        while (true)
        {
            var wanted = _requestBytes < HeaderBytes ? HeaderBytes : HeaderBytes + (int)BinaryPrimitives.ReadUInt32LittleEndian(_request.AsSpan(12));
            if (_requestBytes == wanted && wanted >= HeaderBytes && _requestBytes >= HeaderBytes)
            {
                _requestBytes = 0;
                return true;
            }

            var (consumer, producer) = (Get(RequestConsumer), Get(RequestProducer));
            var there = producer - consumer;
            if (there > RingBytes)
            {
                Break($"{there} bytes in a ring of {RingBytes}");
                return false;
            }

            if (there == 0) return false;
            var count = (int)Math.Min(there, (uint)(wanted - _requestBytes));
            for (var n = 0; n < count; n++) _request[_requestBytes + n] = Page[(int)((consumer + (uint)n) & (RingBytes - 1))];
            _requestBytes += count;
            Set(RequestConsumer, consumer + (uint)count);
            moved = true;
            if (_requestBytes == HeaderBytes && BinaryPrimitives.ReadUInt32LittleEndian(_request.AsSpan(12)) > MaxPayload)
            {
                Break("a message longer than 4 KiB");
                return false;
            }
        }
    }

    private void Break(string why)
    {
        log.Guest("xenstore", $"domain {domain} is cut off: {why}");
        Set(ErrorCode, ErrorRing);
        _broken = true;
    }

    /// <returns>Something was sent.</returns>
    private bool SendReply()
    {
        var (consumer, producer) = (Get(ResponseConsumer), Get(ResponseProducer));
        var room = RingBytes - (producer - consumer);
        if (room > RingBytes)
        {
            Break($"{producer - consumer} bytes in a ring of {RingBytes}");
            return false;
        }

        var count = (int)Math.Min(room, (uint)(_replyBytes - _replySent));
        for (var n = 0; n < count; n++) Page[Response + (int)((producer + (uint)n) & (RingBytes - 1))] = _reply[_replySent + n];
        _replySent += count;
        Set(ResponseProducer, producer + (uint)count);
        return count > 0;
    }

    private void Answer()
    {
        var kind = (StoreRequestKind)BinaryPrimitives.ReadUInt32LittleEndian(_request);
        var payload = _request.AsSpan(HeaderBytes, (int)BinaryPrimitives.ReadUInt32LittleEndian(_request.AsSpan(12)));
        byte[] reply;
        try
        {
            reply = _requests.Carry(kind, BinaryPrimitives.ReadUInt32LittleEndian(_request.AsSpan(8)), payload);
            if (reply.Length > MaxPayload) throw new StoreException("E2BIG");
        }
        catch (StoreException e)
        {
            kind = StoreRequestKind.Error;
            reply = Encoding.ASCII.GetBytes(e.Error + "\0");
        }

        _request.AsSpan(0, HeaderBytes).CopyTo(_reply);
        Prepare(kind, reply);
    }

    /// <summary>A watch fired: request and transaction are 0.</summary>
    private void PrepareEvent(ReadOnlySpan<byte> payload)
    {
        _reply.AsSpan(0, HeaderBytes).Clear();
        Prepare(StoreRequestKind.WatchEvent, payload);
    }

    private void Prepare(StoreRequestKind kind, ReadOnlySpan<byte> reply)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_reply, (uint)kind);
        BinaryPrimitives.WriteUInt32LittleEndian(_reply.AsSpan(12), (uint)reply.Length);
        reply.CopyTo(_reply.AsSpan(HeaderBytes));
        _replyBytes = HeaderBytes + reply.Length;
        _replySent = 0;
    }
}
