using System;

namespace XenDM.Core.Backends;

public enum CharEvent
{
    /// <summary>Somebody connected, or the backend is ready.</summary>
    Opened,

    /// <summary>The other end went away.</summary>
    Closed,

    /// <summary>A break condition (telnet, mux).</summary>
    Break,
}

/// <summary>The device or monitor behind a character backend. All calls are made on the machine thread.</summary>
public interface ICharFrontend
{
    /// <summary>How many bytes <see cref="Receive"/> will take now; 0 makes the backend stop reading until <see cref="ICharBackend.AcceptInput"/>.</summary>
    int ReceiveRoom { get; }

    /// <summary>Bytes from outside, at most <see cref="ReceiveRoom"/>.</summary>
    void Receive(ReadOnlySpan<byte> data);

    void Event(CharEvent e);

    /// <summary>After a short <see cref="ICharBackend.Write"/>: there is room again.</summary>
    void WriteReady();
}

/// <summary>A byte stream to the outside world: pty, socket, file. Machine thread only.</summary>
public interface ICharBackend : IDisposable
{
    /// <summary>The chardev's id, e.g. <c>serial0</c> or <c>libxl-cmd</c>.</summary>
    string Label { get; }

    /// <summary>As <c>query-chardev</c> shows it: <c>pty:/dev/pts/3</c>, <c>disconnected:unix:/run/x,server=on</c>, <c>file</c>, <c>null</c>.</summary>
    string FileName { get; }

    bool IsOpen { get; }

    /// <summary>Connects the one front end. Before that, input waits.</summary>
    void Attach(ICharFrontend frontend);

    /// <summary>Writes without blocking.</summary>
    /// <returns>Bytes taken. While nobody is connected everything is taken and dropped, as on a cable that ends in the air.</returns>
    int Write(ReadOnlySpan<byte> data);

    /// <summary>The front end has room again.</summary>
    void AcceptInput();

    /// <summary>A descriptor that came with the data (SCM_RIGHTS), oldest first; the caller owns it. -1 when there is none.</summary>
    int TakeFd();

    /// <summary>Modem lines and break, where the backend has them (a host's serial port); else nothing happens.</summary>
    void SetBreak(bool on);
}
