using System;
using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Vnc.Transport;

namespace XenDM.Vnc.Clipboard;

/// <summary>
/// One client's side of the clipboard: takes its texts, and owes it those of others. What is owed is noted from any task and written from the sending one;
/// a client that does not read is owed each thing once.
/// </summary>
/// <param name="wake">Something is owed.</param>
internal sealed class ClientClipboard(SharedClipboard shared, Action wake)
{
    /// <summary>Longest message that is let go by; what is over <see cref="SharedClipboard.MaxBytes"/> is not looked at.</summary>
    private const long MaxMessage = 16 << 20;

    private readonly object _lock = new();
    private Owed _owed;
    private uint _abilities = ExtendedClipboard.Default;
    private bool _isExtended;

    [Flags]
    private enum Owed
    {
        None = 0,
        Caps = 1,
        Request = 2,
        News = 4,
        Text = 8,
    }

    /// <summary>The client has a text for the others.</summary>
    public Action<ClientClipboard>? Cut { get; set; }

    /// <summary>The client knows the extension.</summary>
    public bool IsExtended
    {
        set
        {
            lock (_lock)
            {
                if (value && !_isExtended) _owed |= Owed.Caps;
                _isExtended = value;
            }
        }
    }

    /// <summary>There is a new text of another client.</summary>
    public void Offer() => Owe(Owed.News);

    /// <summary>Takes a message of cut text, from its length on.</summary>
    /// <param name="length">Negative for those of the extension.</param>
    /// <exception cref="RfbException">It breaks the protocol.</exception>
    public async Task ReceiveAsync(RfbReader reader, int length, CancellationToken stop)
    {
        var bytes = Math.Abs((long)length);
        if (bytes > MaxMessage) throw new RfbException($"sends a clipboard of {bytes} bytes");
        if (length >= 0)
        {
            if (await TakeAsync(reader, bytes, stop) is { } latin) Put(ExtendedClipboard.FromLatin(latin, SharedClipboard.MaxBytes));
            return;
        }

        if (bytes < ExtendedClipboard.FlagsLength) throw new RfbException("sends an extended clipboard without its flags");
        var flags = BinaryPrimitives.ReadUInt32BigEndian((await reader.ReadAsync(ExtendedClipboard.FlagsLength, stop)).Span);
        bytes -= ExtendedClipboard.FlagsLength;
        var isText = (flags & ExtendedClipboard.Text) != 0;
        if ((flags & ExtendedClipboard.Caps) != 0)
        {
            if (bytes < ExtendedClipboard.SizesLength(flags)) throw new RfbException("does not say how long its clipboards may be");
            lock (_lock) _abilities = flags;
        }
        else if ((flags & ExtendedClipboard.Provide) != 0 && isText)
        {
            if (await TakeAsync(reader, bytes, stop) is { } packed) Put(ExtendedClipboard.Unpack(packed, SharedClipboard.MaxBytes));
            return;
        }
        else if ((flags & ExtendedClipboard.Peek) != 0) Owe(Owed.News);
        else if ((flags & ExtendedClipboard.Notify) != 0 && isText) Owe(Owed.Request);
        else if ((flags & ExtendedClipboard.Request) != 0 && isText) Owe(Owed.Text);
        await reader.SkipAsync(bytes, stop);
    }

    /// <summary>Writes what is owed.</summary>
    public void Write(PipeWriter pipe)
    {
        lock (_lock)
        {
            var text = shared.Text;
            if (Owes(Owed.Caps)) WriteExtended(pipe, ExtendedClipboard.Own, new byte[ExtendedClipboard.SizesLength(ExtendedClipboard.Own)]);
            if (Owes(Owed.Request) && _isExtended) WriteExtended(pipe, ExtendedClipboard.Request | ExtendedClipboard.Text, []);
            if (Owes(Owed.News))
            {
                if (!_isExtended)
                {
                    if (text is not null) WriteLatin(pipe, ExtendedClipboard.ToLatin(text));
                }
                else if ((_abilities & ExtendedClipboard.Notify) != 0) WriteExtended(pipe, ExtendedClipboard.Notify | (text is null ? 0 : ExtendedClipboard.Text), []);
            }

            if (Owes(Owed.Text) && _isExtended && text is not null) WriteExtended(pipe, ExtendedClipboard.Provide | ExtendedClipboard.Text, ExtendedClipboard.Pack(text));
        }
    }

    /// <returns>Null, when it was too long and went by.</returns>
    private static async Task<byte[]?> TakeAsync(RfbReader reader, long length, CancellationToken stop)
    {
        if (length > SharedClipboard.MaxBytes)
        {
            await reader.SkipAsync(length, stop);
            return null;
        }

        var all = new byte[length];
        for (var at = 0; at < all.Length;)
        {
            var piece = await reader.ReadAsync(Math.Min(RfbReader.MaxPiece, all.Length - at), stop);
            piece.CopyTo(all.AsMemory(at));
            at += piece.Length;
        }

        return all;
    }

    private static void WriteExtended(PipeWriter pipe, uint flags, ReadOnlySpan<byte> rest)
    {
        WriteHeader(pipe, -(ExtendedClipboard.FlagsLength + rest.Length));
        BinaryPrimitives.WriteUInt32BigEndian(pipe.GetSpan(ExtendedClipboard.FlagsLength), flags);
        pipe.Advance(ExtendedClipboard.FlagsLength);
        pipe.Write(rest);
    }

    private static void WriteLatin(PipeWriter pipe, ReadOnlySpan<byte> latin)
    {
        WriteHeader(pipe, latin.Length);
        pipe.Write(latin);
    }

    private static void WriteHeader(PipeWriter pipe, int length)
    {
        var header = pipe.GetSpan(8);
        header[..4].Clear();
        header[0] = Rfb.ServerCutText;
        BinaryPrimitives.WriteInt32BigEndian(header[4..], length);
        pipe.Advance(8);
    }

    private void Put(byte[]? text)
    {
        if (text is null || (shared.Text is { } old && old.AsSpan().SequenceEqual(text))) return;
        shared.Text = text;
        Cut?.Invoke(this);
    }

    private void Owe(Owed what)
    {
        lock (_lock) _owed |= what;
        wake();
    }

    private bool Owes(Owed what)
    {
        var owes = (_owed & what) != 0;
        _owed &= ~what;
        return owes;
    }
}
