using System;
using System.Buffers;
using System.IO;
using System.IO.Pipelines;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Vnc.Transport;

/// <summary>Takes what a client sends in pieces of known length; never holds more than one such piece, and what the pipe reads ahead.</summary>
internal sealed class RfbReader
{
    /// <summary>Longest piece in bytes.</summary>
    public const int MaxPiece = 1024;
    private readonly PipeReader _pipe;
    private readonly byte[] _piece = new byte[MaxPiece];

    /// <param name="stream">Stays open.</param>
    public RfbReader(Stream stream) => _pipe = PipeReader.Create(stream, new StreamPipeReaderOptions(leaveOpen: true));

    /// <summary>Waits for the next bytes.</summary>
    /// <param name="length">0 to <see cref="MaxPiece"/>.</param>
    /// <returns>The bytes, valid until the next call.</returns>
    /// <exception cref="EndOfStreamException">The client went.</exception>
    public async ValueTask<ReadOnlyMemory<byte>> ReadAsync(int length, CancellationToken stop)
    {
        if (length == 0) return default;
        var result = await _pipe.ReadAtLeastAsync(length, stop);
        if (result.Buffer.Length < length)
        {
            _pipe.AdvanceTo(result.Buffer.Start, result.Buffer.End);
            throw new EndOfStreamException();
        }

        var piece = result.Buffer.Slice(0, length);
        piece.CopyTo(_piece);
        _pipe.AdvanceTo(piece.End);
        return _piece.AsMemory(0, length);
    }

    /// <summary>Lets bytes go by unseen.</summary>
    /// <exception cref="EndOfStreamException">The client went.</exception>
    public async ValueTask SkipAsync(long length, CancellationToken stop)
    {
        while (length > 0)
        {
            var result = await _pipe.ReadAsync(stop);
            var count = Math.Min(length, result.Buffer.Length);
            var isLast = result.IsCompleted && count == 0;
            _pipe.AdvanceTo(result.Buffer.GetPosition(count));
            if (isLast) throw new EndOfStreamException();
            length -= count;
        }
    }

    /// <summary>Hands the stream over to a layer between it and the client.</summary>
    /// <exception cref="RfbException">The client has sent on already.</exception>
    public void Finish()
    {
        if (_pipe.TryRead(out var ahead))
        {
            var isEmpty = ahead.Buffer.IsEmpty;
            _pipe.AdvanceTo(ahead.Buffer.Start);
            if (!isEmpty) throw new RfbException("did not wait for the server's answer");
        }

        _pipe.Complete();
    }
}
