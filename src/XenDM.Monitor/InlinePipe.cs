using System;
using System.Buffers;
using System.IO.Pipelines;

namespace XenDM.Monitor;

/// <summary>Bytes of a connection that wait for the rest of their message: a pipe that both ends use on the machine thread, without waiting.</summary>
internal static class InlinePipe
{
    public static Pipe Make() => new(new PipeOptions(
        pauseWriterThreshold: 0, readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, useSynchronizationContext: false));

    /// <summary>Puts bytes in, to be read at once.</summary>
    public static void Put(this Pipe pipe, ReadOnlySpan<byte> data)
    {
        pipe.Writer.Write(data);
        var flushed = pipe.Writer.FlushAsync();
        if (!flushed.IsCompleted) throw new InvalidOperationException("a pipe without a limit does not wait");
    }
}
